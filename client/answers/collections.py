"""Collections."""

from datetime import datetime

from pydantic import BaseModel


class Collection(BaseModel):
    """images: how many it has."""

    name: str
    images: int
    created_at: datetime
