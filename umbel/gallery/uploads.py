"""Uploads into the ledger, many at once: each its image, its item and, unless it has one, its job."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.types import ItemState, JobType, Queue
from umbel.gallery import images
from umbel.gallery.images import NewImage


@dataclass(frozen=True, slots=True)
class NewUpload:
    """job_id: the open import that it belongs to; None: it gets a job. paused: that import is paused."""

    image: NewImage
    job_id: UUID | None = None
    paused: bool = False
    idempotency_key: str | None = None
    request_id: str | None = None
    traceparent: str | None = None


TAKEN = images.COLUMNS | {
    "job_id": "uuid", "paused": "bool", "idempotency_key": "text", "request_id": "text", "traceparent": "text",
}  # fmt: skip
IMAGE = ", ".join(images.COLUMNS)
ARRAYS = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in TAKEN.items())
INSERT = text(f"""
WITH given AS MATERIALIZED (
    SELECT uuidv7() AS image_id, given.* FROM unnest({ARRAYS}) AS given({", ".join(TAKEN)})
), added AS (
    INSERT INTO image (id, {IMAGE}) SELECT image_id, {IMAGE}
    FROM given ORDER BY collection_id, sha256
    ON CONFLICT (collection_id, sha256) DO NOTHING RETURNING id
), fresh AS MATERIALIZED (
    SELECT given.*, coalesce(given.job_id, uuidv7()) AS job FROM given JOIN added ON added.id = given.image_id
), opened AS (
    INSERT INTO job (id, type, collection_id, model_version_id, closed, idempotency_key, request_id, traceparent)
    SELECT job, :upload, collection_id, (SELECT id FROM model_version WHERE state = 'active'), true, idempotency_key,
           request_id, traceparent
    FROM fresh WHERE job_id IS NULL
), queued AS (
    INSERT INTO job_item (job_id, image_id, queue, state, name, paused)
    SELECT job, image_id, CASE WHEN job_id IS NULL THEN :single ELSE :bulk END, :pending, name, paused
    FROM fresh ORDER BY image_id
)
SELECT blob_key, image_id, job FROM fresh
""")
WORDS = {"upload": JobType.UPLOAD, "single": Queue.SINGLE, "bulk": Queue.BULK, "pending": ItemState.PENDING}


def insert_uploads(session: Session, given: Sequence[NewUpload]) -> dict[str, tuple[UUID, UUID]]:
    """Returns {blob key: (image id, job id)} of those that are in now; not of bytes that their collections have."""
    if not given:
        return {}
    columns = zip(*map(_values, given), strict=True)
    rows = session.execute(INSERT, WORDS | dict(zip(TAKEN, map(list, columns), strict=True)))
    return {row.blob_key: (row.image_id, row.job) for row in rows}


def _values(one: NewUpload) -> tuple[object, ...]:
    of_image = images.values_of(one.image)
    return (*of_image, one.job_id, one.paused, one.idempotency_key, one.request_id, one.traceparent)
