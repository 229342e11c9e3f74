"""Collections."""

from datetime import datetime

from pydantic import BaseModel


class CollectionOut(BaseModel):
    name: str
    images: int
    created_at: datetime


class CollectionsOut(BaseModel):
    items: list[CollectionOut]
    next_cursor: str | None
