"""Pictures of the gallery, as the API tells of them. Fields that a newer API adds are ignored."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from umbel_client.answers.answer import Answer


@dataclass(frozen=True, kw_only=True)
class Accepted(Answer):
    """What became of an upload."""

    image_id: UUID
    job_id: UUID | None
    status: Literal["queued", "duplicate"]


@dataclass(frozen=True, kw_only=True)
class Image(Answer):
    image_id: UUID
    collection: str
    name: str | None
    label: str | None
    metadata: dict[str, Any]
    status: str
    media_type: str
    size: int  # bytes of the file as it arrived
    sha256: str  # of these bytes, hex
    width: int
    height: int
    created_at: datetime
