"""Collections."""

from datetime import datetime

from pydantic import BaseModel


class Collection(BaseModel):
    """images: how many it has; max_images, max_bytes: its quota, None: no limit."""

    name: str
    images: int
    max_images: int | None = None
    max_bytes: int | None = None
    created_at: datetime
