"""Pictures going in, and what is known of them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from apiflask.fields import UploadFile
from pydantic import BaseModel, Field

from api.schemas.fields import SHA256, CollectionName, Cursor, Label, Limit, Links, Metadata, Name, NextCursor, Strict
from umbel.base.types import ItemState
from umbel.gallery.upload import DEFAULT_COLLECTION

MOST_HASHES = 1_000


class UploadIn(Strict):
    file: UploadFile
    collection: CollectionName = DEFAULT_COLLECTION
    label: Label | None = None
    metadata: Metadata = Field(default_factory=dict)
    name: Name | None = Field(None, description="Overrides the file name of the part.")
    job_id: UUID | None = Field(None, description="An open import job to which the picture belongs.")


class ImagePatchIn(Strict):
    label: Label | None = None
    metadata: Metadata = Field(default_factory=dict)


class CheckIn(Strict):
    sha256: list[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", examples=[SHA256])]] = Field(max_length=MOST_HASHES)
    collection: CollectionName = DEFAULT_COLLECTION


class ImagesQuery(Strict):
    collection: CollectionName | None = None
    label: Label | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class AcceptedOut(BaseModel):
    image_id: UUID
    job_id: UUID | None
    status: Literal["queued", "duplicate"]


class ImageOut(BaseModel):
    image_id: UUID
    collection: str = Field(examples=["garden"])
    name: str | None = Field(examples=["tulips/1.jpg"])
    label: str | None = Field(examples=["tulip"])
    metadata: dict[str, Any] = Field(examples=[{"camera": "X100V"}])
    status: ItemState
    media_type: str = Field(examples=["image/jpeg"])
    size: int = Field(description="Bytes of the file as it arrived.")
    sha256: str = Field(description="Of the bytes as they arrived, hex.", examples=[SHA256])
    width: int = Field(description="Pixels, upright.", examples=[640])
    height: int = Field(description="Pixels, upright.", examples=[480])
    created_at: datetime
    links: Links


class ImagesOut(BaseModel):
    items: list[ImageOut]
    next_cursor: NextCursor


class CheckOut(BaseModel):
    known: dict[str, UUID] = Field(description="Of the hashes asked for, those in the collection, with their image.")
