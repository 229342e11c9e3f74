"""/v1/images: upload, list, describe, label and remove images."""

import time
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from apiflask import APIBlueprint
from flask import Response, url_for
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from structlog.contextvars import bind_contextvars

from api import audit
from api.access import check_job, into, within
from api.errors import also, problems
from api.fields import (
    SHA256,
    CollectionName,
    ExternalId,
    FilterText,
    IntoCollection,
    Label,
    Links,
    Metadata,
    NextCursor,
    PageQuery,
    Strict,
    VectorOut,
    WithOne,
    answer_of,
    image_links,
    page_of,
)
from api.idempotency import conflicts
from api.preconditions import check_if_match, etag_of
from api.renditions import responses, served
from api.search import SearchOptions, SearchOut, SimilarQuery, cursor_of, searched, version_of
from api.specification import either_body
from api.uploads import UploadIn, UploadUrlIn, accept, sent_upload
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.errors import DecoderDied, ExternalIdTaken, ImageError, InvalidInput, QuotaExceeded
from umbel.base.replicas import read
from umbel.base.settings import settings
from umbel.base.types import ItemState, Queue, Vector
from umbel.gallery import collections, images
from umbel.gallery.filters import Filter, both, of_external_id, of_label
from umbel.gallery.images import ImageRow
from umbel.gallery.passing import count_passing
from umbel.gallery.renditions import PICTURE, THUMBNAIL
from umbel.gallery.upload import reject_image
from umbel.jobs.backpressure import gate
from umbel.jobs.wakeup import waker
from umbel.search.search import get_vector, query_by_image

bp = APIBlueprint("images", __name__, tag="Images")

ALREADY_THERE = also(200, "These bytes are in the collection already", "AcceptedOut")
TAKEN = "`external_id_taken`: another image has the id, or these bytes under another one"
CLOSED_OR_REUSED = conflicts("`conflict`: the job is closed", TAKEN)
MOST_HASHES = 1_000


class ImagePatchIn(Strict):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"label": "tulip", "metadata": {"camera": "X100V", "lens": None}}]}
    )

    label: Label | None = None
    external_id: ExternalId | None = None
    metadata: Metadata | None = Field(
        None,
        description="Merged into what is there (JSON Merge Patch, RFC 7396): null removes a key, or all.",
    )


class CheckIn(Strict):
    sha256: list[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", examples=[SHA256])]] = Field(max_length=MOST_HASHES)
    collection: IntoCollection = None


class ImageQuery(Strict):
    parts: WithOne = None


class ImagesQuery(PageQuery):
    collection: CollectionName | None = None
    label: Label | None = None
    external_id: ExternalId | None = None
    filter: FilterText = Field(default_factory=Filter)
    total: bool = Field(False, description="Count the images, too.")


class AcceptedOut(BaseModel):
    image_id: UUID
    job_id: UUID | None
    status: Literal["queued", "duplicate"]


class ImageOut(BaseModel):
    image_id: UUID
    collection: str = Field(examples=["garden"])
    name: str | None = Field(examples=["tulips/1.jpg"])
    external_id: str | None = Field(examples=["sku-1042"])
    label: str | None = Field(examples=["tulip"])
    metadata: dict[str, Any] = Field(examples=[{"camera": "X100V"}])
    status: ItemState
    media_type: str = Field(examples=["image/jpeg"])
    size: int = Field(description="Bytes of the file as it arrived.")
    sha256: str = Field(description="Of the bytes as they arrived, hex.", examples=[SHA256])
    width: int = Field(description="Pixels, upright.", examples=[640])
    height: int = Field(description="Pixels, upright.", examples=[480])
    note: str | None = Field(description="What is to be said of a damaged file.", examples=[None])
    created_at: datetime
    replaced_at: datetime | None = Field(
        description="When it got the picture that it has now; null: its first.", examples=[None]
    )
    vector: VectorOut = None
    links: Links


class ImageDetailOut(ImageOut):
    job_id: UUID | None = Field(description="The job that it came with; null: it is no longer kept.")
    embedded_by: list[UUID] = Field(description="The model versions that it has a vector of.")


class ImagesOut(BaseModel):
    items: list[ImageOut]
    next_cursor: NextCursor
    total: int | None = Field(description="How many images there are on all pages; null: not asked for.")


class CheckOut(BaseModel):
    known: dict[str, UUID] = Field(description="Of the hashes asked for, those in the collection, with their image.")


@bp.post("/v1/images")
@bp.output(AcceptedOut, status_code=202, description="Stored; its embedding is queued")
@bp.doc(
    extensions=either_body(json=UploadUrlIn, form=UploadIn),
    responses={**ALREADY_THERE, **problems(404, 415, 502, 507), **CLOSED_OR_REUSED},
)
def upload_image() -> Any:
    """Store a picture and queue its embedding.

    As multipart: `file` is the picture. As JSON: the service fetches it from `url` before it answers, as it does those
    of lists (UMBEL_IMPORT_URLS): `422 address_refused`, `422 unreadable` and `502 unreachable` say why it could not.

    202 with a job to follow; 200 with `status: duplicate` when the collection has these very bytes already. With an
    `external_id` that an image of the collection has, that image gets this picture, and what is given of its name,
    label and metadata. With the header `Idempotency-Key`, a repeated request is answered as the first one was.
    """
    upload = sent_upload()
    if upload.job_id is not None:
        check_job(upload.job_id)
    gate().enter()
    try:
        accepted = accept(upload)
    except (ImageError, DecoderDied, QuotaExceeded, ExternalIdTaken) as error:
        with transaction() as session:
            reject_image(session, upload, error)
        raise
    bind_contextvars(image_id=str(accepted.image_id), job_id=str(accepted.job_id))
    body = AcceptedOut(
        image_id=accepted.image_id, job_id=accepted.job_id, status="duplicate" if accepted.duplicate else "queued"
    )
    if accepted.duplicate:
        return body, 200
    # After the commit: the worker must see the row. If the message is lost, the sweep sends another.
    waker().wake(Queue.BULK if upload.job_id else Queue.SINGLE)
    return body, 202, {"Location": url_for("jobs.get_job", job_id=accepted.job_id), "Retry-After": "1"}


@bp.post("/v1/images:check")
@bp.input(CheckIn, arg_name="body")
@bp.output(CheckOut)
def check_images(body: CheckIn) -> Any:
    """Tell which pictures a collection has already, by the SHA-256 of their bytes."""
    with transaction() as session:
        collection_id = collections.find_collection(session, into(body.collection))
        hashes = [bytes.fromhex(digest) for digest in body.sha256]
        known = images.list_known_sha256(session, collection_id, hashes) if collection_id else {}
    return CheckOut(known={digest.hex(): image_id for digest, image_id in known.items()})


@bp.get("/v1/images")
@bp.input(ImagesQuery, location="query", arg_name="query")
@bp.output(ImagesOut)
@bp.doc(responses=problems(404))
def list_images(query: ImagesQuery) -> Any:
    """List images, newest first: all, those of a label or an external id, or those that pass a filter."""
    collection = within(query.collection)
    wanted = both(query.filter, of_external_id(query.external_id))

    def find(session: Session) -> tuple[list[ImageRow], int | None]:
        collections.id_of(session, query.collection)  # raises; the one that a key is for may still have to come
        rows = images.list_images(
            session,
            collection=collection,
            label=query.label,
            asked=wanted,
            before=query.cursor,
            limit=query.limit + 1,
        )
        asked = both(wanted, of_label(query.label))
        return rows, count_passing(session, asked, collection=collection) if query.total else None

    rows, total = read(find)
    page, cursor = page_of(rows, query.limit)
    return ImagesOut(items=[image_out(row) for row in page], next_cursor=cursor, total=total)


@bp.get("/v1/images/<uuid:image_id>")
@bp.input(ImageQuery, location="query", arg_name="query")
@bp.output(ImageDetailOut)
@bp.doc(responses=problems(409))
def get_image(image_id: UUID, query: ImageQuery) -> Any:
    """Describe an image. Its ETag goes with If-Match into requests that change or remove it.

    With its vector under the active model: 409 `not_embedded` until there is one.
    """
    with transaction() as session:
        return _described(session, image_id, get_vector(session, image_id) if query.parts else None)


@bp.patch("/v1/images/<uuid:image_id>")
@bp.input(ImagePatchIn, arg_name="patch")
@bp.output(ImageDetailOut)
@bp.doc(responses={**problems(412), 409: {**problems(409)[409], "description": TAKEN}})
def change_image(image_id: UUID, patch: ImagePatchIn) -> Any:
    """Change an image's label, external_id, metadata by a JSON Merge Patch: null removes them, or a key of the last."""
    changes = patch.model_dump(exclude_unset=True)
    if not changes:
        raise InvalidInput("Give a label, external_id or metadata to change.")
    with transaction() as session:
        image = images.lock_image(session, image_id, changes)
        check_if_match(image)
        images.update_image(session, image, changes)
        return _described(session, image_id)


@bp.delete("/v1/images/<uuid:image_id>")
@bp.output({}, status_code=204)
@bp.doc(responses=problems(412))
def remove_image(image_id: UUID) -> Any:
    """Remove an image. It can be restored for UMBEL_TRASH_DAYS: POST /v1/trash:restore."""
    removed = images.remove_image(transaction, blobs(), image_id, keep=settings().trash_days > 0, check=check_if_match)
    audit.note(collection=removed.collection, name=removed.name, sha256=removed.sha256.hex())
    return ""


@bp.get("/v1/images/<uuid:image_id>/file")
@bp.doc(responses=responses("The picture", "image/*"))
def get_file(image_id: UUID) -> Response:
    """The picture as JPEG, PNG or WebP: upright, in sRGB, without EXIF, GPS or other metadata."""
    return served(image_id, PICTURE)


@bp.get("/v1/images/<uuid:image_id>/thumbnail")
@bp.doc(responses=responses("A small JPEG", "image/jpeg"))
def get_thumbnail(image_id: UUID) -> Response:
    """The picture as a JPEG of at most 320 pixels a side."""
    return served(image_id, THUMBNAIL)


@bp.get("/v1/images/<uuid:image_id>/similar")
@bp.input(SimilarQuery, location="query", arg_name="query")
@bp.output(SearchOut)
@bp.doc(responses=problems(409))
def similar_images(image_id: UUID, query: SimilarQuery) -> Any:
    """Find the images most similar to one that is in the gallery, which is left out itself.

    For the next page send the same again with `cursor`.
    """
    began = time.perf_counter()
    asked = both(query.filter, of_label(query.label))
    shared = query.model_dump(exclude={"label", "filter", "parts", "model_version"})
    options = SearchOptions(filter=asked, **shared, **{"with": [query.parts] if query.parts else []})
    found = query_by_image(image_id, version_of(cursor_of(query), query.model_version))
    return searched(found, options, began, asked_by=[[str(image_id)], 0])


def image_out(row: ImageRow, vector: Vector | None = None) -> ImageOut:
    found = {"vector": None if vector is None else vector.tolist(), "links": image_links(row.id, "similar")}
    return answer_of(ImageOut, row, image_id=row.id, metadata=row.meta, sha256=row.sha256.hex(), **found)


def _described(session: Session, image_id: UUID, vector: Vector | None = None) -> Any:
    """Raises NotFound."""
    row, origin = images.get_image(session, image_id), images.get_origin(session, image_id)
    found = ImageDetailOut(**dict(image_out(row, vector)), job_id=origin.job_id, embedded_by=origin.embedded_by)
    return found, 200, {"ETag": f'"{etag_of(row)}"'}
