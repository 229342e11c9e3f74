"""Collections."""

from dataclasses import dataclass
from datetime import datetime

from umbel_client.answers.answer import Answer


@dataclass(frozen=True, kw_only=True)
class Collection(Answer):
    """images: how many it has; max_images, max_bytes: its quota, None: no limit."""

    name: str
    images: int
    max_images: int | None = None
    max_bytes: int | None = None
    created_at: datetime
