"""The tables. Migrations create them (triggers, partitions and checks included); these classes only name them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    ColumnElement,
    Double,
    ForeignKey,
    LargeBinary,
    Text,
    Uuid,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column

from umbel.base import logging
from umbel.base.caller import api_key_id
from umbel.base.types import EXTERNAL

NOW = text("now()")
UUID7 = text("uuidv7()")


def ago(seconds: float) -> ColumnElement[datetime]:
    """The time that it was `seconds` before this transaction began, by the database's clock."""
    return func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)


class Table(DeclarativeBase):
    """Base of all tables: text without length, times with zone, JSON as jsonb."""

    type_annotation_map = {str: Text, datetime: TIMESTAMP(timezone=True), dict[str, Any]: JSONB}  # noqa: RUF012


class Collection(Table):
    """A set of images that is deduplicated, searched and deleted on its own."""

    __tablename__ = "collection"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    name: Mapped[str]  # unique among those that are not deleted
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    deleted_at: Mapped[datetime | None]  # since when no request finds it; the row goes with the last of its images
    max_images: Mapped[int | None] = mapped_column(BigInteger)  # its quota
    max_bytes: Mapped[int | None] = mapped_column(BigInteger)
    used_images: Mapped[int] = mapped_column(BigInteger, server_default="0")  # kept by triggers while it has a quota
    used_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    tiles: Mapped[int] = mapped_column(server_default="0")  # of each image, that are embedded too: 0, 4 or 9


class Image(Table):
    """A picture: its bytes are in the blob store under `blob_key`."""

    __tablename__ = "image"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    collection_id: Mapped[UUID] = mapped_column(ForeignKey("collection.id"))
    sha256: Mapped[bytes] = mapped_column(LargeBinary)  # unique in a collection
    blob_key: Mapped[str]
    media_type: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)  # bytes
    width: Mapped[int]  # pixels, upright
    height: Mapped[int]
    name: Mapped[str | None]  # file name or path it arrived under
    external_id: Mapped[str | None]  # of its sender's own, unique in the collection
    label: Mapped[str | None]
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'"))
    note: Mapped[str | None]  # what is to be said of a damaged file
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    replaced_at: Mapped[datetime | None]  # when it got the picture that it has now, if that is not its first


class TrashedImage(Table):
    """A removed image that can be restored, as it was."""

    __tablename__ = "trashed_image"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    collection_id: Mapped[UUID] = mapped_column(ForeignKey("collection.id"))
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    blob_key: Mapped[str]
    media_type: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int]
    height: Mapped[int]
    name: Mapped[str | None]
    external_id: Mapped[str | None]
    label: Mapped[str | None]
    meta: Mapped[dict[str, Any]] = mapped_column("metadata")
    note: Mapped[str | None]
    created_at: Mapped[datetime]
    replaced_at: Mapped[datetime | None]
    trashed_at: Mapped[datetime] = mapped_column(server_default=NOW)
    job_id: Mapped[UUID | None]  # that removed it, if it was one


class ModelVersion(Table):
    """One set of weights with its preprocessing, and the vectors of one time that all was embedded with it.

    Vectors of two versions are never compared.
    """

    __tablename__ = "model_version"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    name: Mapped[str]
    architecture: Mapped[str]
    dim: Mapped[int]
    weights_sha256: Mapped[str]
    generation: Mapped[int] = mapped_column(server_default=text("1"))  # 2 and more: all was embedded anew with it
    preprocessing_hash: Mapped[str]
    card: Mapped[dict[str, Any]]
    state: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    activated_at: Mapped[datetime | None]
    replaced_id: Mapped[UUID | None] = mapped_column(ForeignKey("model_version.id"))  # active before it
    retired_at: Mapped[datetime | None]
    hnsw_m: Mapped[int] = mapped_column(server_default=text("24"))
    hnsw_ef_construction: Mapped[int] = mapped_column(server_default=text("128"))
    hnsw_kind: Mapped[str] = mapped_column(server_default=text("'halfvec'"))

    @property
    def is_external(self) -> bool:
        """Whether others compute its vectors: it has no weights, and no worker can embed with it."""
        return self.architecture == EXTERNAL


class Embedding(Table):
    """The unit vector of an image under a model version; partitioned by model version."""

    __tablename__ = "embedding"

    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"), primary_key=True)
    image_id: Mapped[UUID] = mapped_column(ForeignKey("image.id"), primary_key=True)
    collection_id: Mapped[UUID] = mapped_column(ForeignKey("collection.id"))
    vector: Mapped[Any] = mapped_column(HALFVEC)


class TileRow(Table):
    """The unit vector of a part of an image, partitioned as `embedding` is; number: see umbel/gallery/tiles.py."""

    __tablename__ = "tile"

    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"), primary_key=True)
    image_id: Mapped[UUID] = mapped_column(ForeignKey("image.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    collection_id: Mapped[UUID] = mapped_column(ForeignKey("collection.id"))
    vector: Mapped[Any] = mapped_column(HALFVEC)


class TrashedEmbedding(Table):
    """A vector of an image in the trash."""

    __tablename__ = "trashed_embedding"

    image_id: Mapped[UUID] = mapped_column(ForeignKey("trashed_image.id"), primary_key=True)
    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"), primary_key=True)
    vector: Mapped[Any] = mapped_column(HALFVEC)


class NearestNeighbors(Table):
    """The images of its collection that are nearest to an image under a model version, and their vote on its label."""

    __tablename__ = "nearest_neighbors"

    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"), primary_key=True)
    image_id: Mapped[UUID] = mapped_column(ForeignKey("image.id"), primary_key=True)
    collection_id: Mapped[UUID] = mapped_column(ForeignKey("collection.id"))
    neighbors: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))  # nearest first, without the image itself
    distances: Mapped[list[float]] = mapped_column(ARRAY(REAL))
    pixel_similarities: Mapped[list[float]] = mapped_column(ARRAY(REAL))
    nearest: Mapped[float | None] = mapped_column(REAL, server_default=text("generated"))  # of the distances
    pixel_similarity: Mapped[float] = mapped_column(REAL)  # the largest of the similarities
    voted_label: Mapped[str | None]  # the image's label when its neighbors voted on it
    suggested_label: Mapped[str | None]
    label_error_probability: Mapped[float | None] = mapped_column(REAL)
    compared_at: Mapped[datetime] = mapped_column(server_default=NOW)


class CollectionCalibration(Table):
    """What distances and votes mean for a collection under a model version, fitted on its own labels."""

    __tablename__ = "collection_calibration"

    collection_id: Mapped[UUID] = mapped_column(ForeignKey("collection.id", ondelete="CASCADE"), primary_key=True)
    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"), primary_key=True)
    calibration: Mapped[dict[str, Any]] = mapped_column(JSONB)  # umbel.models.calibration.Calibration
    calibrated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class DuplicateGrouping(Table):
    """The near-duplicates of a collection under a model version, by limits of distance and similarity."""

    __tablename__ = "duplicate_grouping"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"))
    collection_id: Mapped[UUID] = mapped_column(ForeignKey("collection.id"))
    max_distance: Mapped[float]
    min_pixel_similarity: Mapped[float]
    changes: Mapped[int] = mapped_column(BigInteger, server_default="0")  # of the collection's nearest neighbors
    computed: Mapped[int | None] = mapped_column(BigInteger)  # how many of these the groups know of


class DuplicateGroup(Table):
    """Images that show one picture, as they were when it was computed."""

    __tablename__ = "duplicate_group"

    grouping_id: Mapped[UUID] = mapped_column(ForeignKey("duplicate_grouping.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)  # of the newest of them
    images: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))


class ImageSignatureRow(Table):
    """What comparing pixels needs of an image, kept when it was looked at."""

    __tablename__ = "image_signature"

    image_id: Mapped[UUID] = mapped_column(ForeignKey("image.id"), primary_key=True)
    sharpness: Mapped[float | None] = mapped_column(REAL)
    pixels: Mapped[bytes | None] = mapped_column(LargeBinary)


class GalleryMap(Table):
    """The pictures of a job's collection, or all, as points in the plane under the job's model version."""

    __tablename__ = "gallery_map"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id"), primary_key=True)
    done: Mapped[bool] = mapped_column(server_default=text("false"))
    images: Mapped[int | None]  # that had a vector when it was drawn
    image_ids: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid))
    xs: Mapped[list[float] | None] = mapped_column(ARRAY(REAL))
    ys: Mapped[list[float] | None] = mapped_column(ARRAY(REAL))
    computed_at: Mapped[datetime | None]


class RecallReport(Table):
    """How an index compared with exact search when it was measured."""

    __tablename__ = "recall_report"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"))
    collection: Mapped[str | None]  # searched within; NULL: the whole gallery
    k: Mapped[int]
    sample: Mapped[int]  # searches compared
    ef_search: Mapped[int]  # in use
    recall: Mapped[float]
    index_ms: Mapped[float]  # medians
    exact_ms: Mapped[float]
    ef_for_95: Mapped[int | None]  # least of those measured with that recall in percent
    ef_for_99: Mapped[int | None]
    steps: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Job(Table):
    """A piece of work with its counts. Triggers keep the counts; `status` is generated from them."""

    __tablename__ = "job"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    type: Mapped[str]
    collection_id: Mapped[UUID | None] = mapped_column(ForeignKey("collection.id"))
    model_version_id: Mapped[UUID | None] = mapped_column(ForeignKey("model_version.id"))
    closed: Mapped[bool]  # no more items will be added
    total: Mapped[int] = mapped_column(server_default="0")
    pending: Mapped[int] = mapped_column(server_default="0")
    indexed: Mapped[int] = mapped_column(server_default="0")
    duplicate: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    cancelled: Mapped[int] = mapped_column(server_default="0")
    status: Mapped[str] = mapped_column(server_default=text("generated"))  # GENERATED ALWAYS, never written
    attempts: Mapped[int] = mapped_column(server_default="1")
    error_code: Mapped[str | None] = mapped_column("failure_code")  # items, which it is joined with, have `error_code`
    error: Mapped[str | None]
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    cancelling: Mapped[bool] = mapped_column(server_default=text("false"))
    was_cancelled: Mapped[bool] = mapped_column(server_default=text("false"))  # kept by a trigger, when tried again too
    indexing: Mapped[bool] = mapped_column(server_default=text("false"))  # waits for an index built after the load
    # What was asked of it has yet to reach its items: see umbel/jobs/settling.py.
    settling: Mapped[bool] = mapped_column(server_default=text("false"))
    retrying: Mapped[bool] = mapped_column(server_default=text("false"))  # its failed items are being brought back
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    changed_at: Mapped[datetime] = mapped_column(server_default=NOW)
    request_id: Mapped[str | None] = mapped_column(default=logging.request_id)
    traceparent: Mapped[str | None] = mapped_column(default=logging.traceparent)
    api_key_id: Mapped[UUID | None] = mapped_column(default=api_key_id)  # of the request that began it


class JobItem(Table):
    """One picture's way through one job."""

    __tablename__ = "job_item"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id"))
    image_id: Mapped[UUID | None] = mapped_column(ForeignKey("image.id"))
    queue: Mapped[str]
    state: Mapped[str]
    name: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    retries: Mapped[int] = mapped_column(server_default="0")
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    locator: Mapped[str | None]  # where its source has it, for an item that was listed rather than sent
    label: Mapped[str | None]
    external_id: Mapped[str | None]
    meta: Mapped[dict[str, Any] | None] = mapped_column("metadata")
    paused: Mapped[bool] = mapped_column(server_default=text("false"))  # put aside, as its job is paused
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    finished_at: Mapped[datetime | None]
    note: Mapped[str | None] = column_property(
        select(Image.note).where(Image.id == image_id).scalar_subquery(), deferred=True
    )


class Tally(Table):
    """A change of a count, or the sum of several: see umbel/base/tallies.py."""

    __tablename__ = "tally"
    __mapper_args__ = {"primary_key": ["counted", "place", "change"]}  # noqa: RUF012 - it has none

    counted: Mapped[str]
    place: Mapped[str]
    change: Mapped[int] = mapped_column(BigInteger)


class IdempotencyKey(Table):
    """A key under which a request came, and what was answered."""

    __tablename__ = "idempotency_key"

    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id"))
    image_id: Mapped[UUID | None]
    duplicate: Mapped[bool]


class ImportSource(Table):
    """What a worker reads an import from, and how far it has come."""

    __tablename__ = "import_source"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id"), primary_key=True)
    spec: Mapped[dict[str, Any]]
    label_from_folder: Mapped[bool]
    dry_run: Mapped[bool]
    position: Mapped[str | None]  # of the last entry that was listed
    listed: Mapped[int] = mapped_column(server_default="0")
    rejected: Mapped[int] = mapped_column(server_default="0")
    skipped: Mapped[int] = mapped_column(server_default="0")
    skipped_by_kind: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    done: Mapped[bool] = mapped_column(server_default=text("false"))
    retries: Mapped[int] = mapped_column(server_default="0")  # times in a row that it could not be reached
    next_try: Mapped[datetime] = mapped_column(server_default=NOW)
    roots: Mapped[list[str] | None] = mapped_column(ARRAY(Text))  # that it may read; NULL: all of the server
    error: Mapped[str | None]  # why it cannot be reached
    failing_since: Mapped[datetime | None]
    given_up: Mapped[bool] = mapped_column(server_default=text("false"))  # nothing more is listed or read


class Sync(Table):
    """A folder or bucket that is followed: listed every so often, and what is new, changed or gone taken over."""

    __tablename__ = "sync"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    collection_id: Mapped[UUID] = mapped_column(ForeignKey("collection.id"))
    spec: Mapped[dict[str, Any]]
    label_from_folder: Mapped[bool]
    roots: Mapped[list[str] | None] = mapped_column(ARRAY(Text))  # that it may read; NULL: all of the server
    every_seconds: Mapped[int]
    max_vanished: Mapped[float]  # share of the known files; when more are gone, none of their images is removed
    adopt: Mapped[bool]  # images that were in the collection before its files were read are the sync's to remove, too
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    next_run: Mapped[datetime] = mapped_column(server_default=NOW)
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class SyncRun(Table):
    """One run of a sync: a job that lists its source. How far it is: see umbel/imports/sync/finishing.py."""

    __tablename__ = "sync_run"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id"), primary_key=True)
    sync_id: Mapped[UUID] = mapped_column(ForeignKey("sync.id"))
    allow_vanished: Mapped[bool]
    again: Mapped[bool] = mapped_column(server_default=text("false"))  # listed a second time: files were missing
    complete: Mapped[bool] = mapped_column(server_default=text("false"))  # listed to the end: what is unseen is gone
    position: Mapped[UUID | None]  # the last item whose outcome was noted
    done: Mapped[bool] = mapped_column(server_default=text("false"))
    report: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


class SyncFile(Table):
    """A path of a sync, and the image that was read there."""

    __tablename__ = "sync_file"

    sync_id: Mapped[UUID] = mapped_column(ForeignKey("sync.id"), primary_key=True)
    locator: Mapped[str] = mapped_column(primary_key=True)  # unique in the sync by its hash
    version: Mapped[str | None]  # that was read; NULL: it is to be read with the next run
    image_id: Mapped[UUID | None]  # outlives the image, so that one that a person removed is not read again
    brought: Mapped[bool] = mapped_column(server_default=text("false"))  # the image is the sync's to remove
    seen: Mapped[UUID | None]  # the last run that found it
    found: Mapped[str | None]  # the version that this run found
    former: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid))  # images before, until a complete run removes them


class Reindex(Table):
    """What a reindex is to do, how far it is, and what it found."""

    __tablename__ = "reindex"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id"), primary_key=True)
    mode: Mapped[str]
    phase: Mapped[str]
    activate: Mapped[bool]  # switch to the version if it passes the gate
    max_drop: Mapped[float]  # of R@1 and MAP@R against the active version, that the gate lets through
    hnsw_m: Mapped[int | None]
    hnsw_ef_construction: Mapped[int | None]
    hnsw_kind: Mapped[str | None]
    position: Mapped[UUID | None]  # the last image that was listed
    report: Mapped[dict[str, Any] | None]
    done: Mapped[bool] = mapped_column(server_default=text("false"))


class Comparison(Table):
    """What a comparison is to list, and how far it is."""

    __tablename__ = "comparison"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id"), primary_key=True)
    again: Mapped[bool]  # also what was compared before
    position: Mapped[UUID | None]  # the last image that was listed


class BulkChange(Table):
    """What a job does to many images, and how far they are listed: see umbel/changes/bulk.py."""

    __tablename__ = "bulk_change"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id"), primary_key=True)
    chosen: Mapped[dict[str, Any]]
    changes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    position: Mapped[UUID | None]  # the last image that was listed
    listed: Mapped[bool] = mapped_column(server_default=text("false"))


class PendingBlobCleanup(Table):
    """Bytes that are being written or removed: whose they are is not settled yet."""

    __tablename__ = "pending_blob_cleanup"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    blob_key: Mapped[str]
    since: Mapped[datetime] = mapped_column(server_default=NOW)


class QueryImage(Table):
    """A picture someone searches by, on its way to becoming a vector. Unlogged: it outlives no crash, nor needs to."""

    __tablename__ = "query_image"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    image: Mapped[bytes] = mapped_column(LargeBinary)
    blob_key: Mapped[str | None]  # of a stored image, in place of bytes
    box: Mapped[list[float] | None] = mapped_column(ARRAY(Double))
    model_version_id: Mapped[UUID | None]
    vector: Mapped[bytes | None] = mapped_column(LargeBinary)
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    claimed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Worker(Table):
    """A worker process and when it was last heard of."""

    __tablename__ = "worker"

    name: Mapped[str] = mapped_column(primary_key=True)
    queues: Mapped[str]
    device: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    seen_at: Mapped[datetime] = mapped_column(server_default=NOW)
    progress_at: Mapped[datetime] = mapped_column(server_default=NOW)  # something was finished, or nothing was left
    broker_connected: Mapped[bool] = mapped_column(server_default=text("true"))


class ApiKey(Table):
    """Who may call the API. Of the key itself only the SHA-256 is kept."""

    __tablename__ = "api_key"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    name: Mapped[str]
    prefix: Mapped[str]  # the public part, by which it is found
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    scope: Mapped[str]
    collections: Mapped[list[str] | None] = mapped_column(ARRAY(Text))  # by name; NULL: all
    import_roots: Mapped[list[str] | None] = mapped_column(ARRAY(Text))  # NULL: all of the server; empty: none
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # to the minute


class WebSession(Table):
    """A browser that is signed in with a key. Of its cookie only the SHA-256 is kept."""

    __tablename__ = "web_session"

    sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    api_key_id: Mapped[UUID] = mapped_column(ForeignKey("api_key.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime]


class AuditEvent(Table):
    """Something an administrator did."""

    __tablename__ = "audit_event"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    actor: Mapped[str]
    api_key_id: Mapped[UUID | None]
    action: Mapped[str]
    target: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    status: Mapped[int | None]  # of the answer; NULL: begun, and not known to have ended
    request_id: Mapped[str | None]
    address: Mapped[str | None]


class EventRow(Table):
    """Something that happened; see umbel/events/log.py."""

    __tablename__ = "event"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, server_default=text("generated"))
    position: Mapped[int | None] = mapped_column(BigInteger)  # in the log, once it is published
    id: Mapped[UUID] = mapped_column(server_default=UUID7)
    type: Mapped[str]
    collection: Mapped[str | None]  # its name then; NULL: it concerns no single one
    job_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Webhook(Table):
    """An address that events are delivered to."""

    __tablename__ = "webhook"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    url: Mapped[str]
    secret: Mapped[str]  # as it is, since each delivery is signed with it
    types: Mapped[list[str] | None] = mapped_column(ARRAY(Text))  # of events, or `job.*`; NULL: all
    collection: Mapped[str | None]  # by name; NULL: all
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]
    failures: Mapped[int] = mapped_column(server_default=text("0"))  # in a row
    failing_since: Mapped[datetime | None]
    next_try: Mapped[datetime] = mapped_column(server_default=NOW)
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]


class WebhookDelivery(Table):
    """An event on its way to a webhook."""

    __tablename__ = "webhook_delivery"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    webhook_id: Mapped[UUID] = mapped_column(ForeignKey("webhook.id"))
    position: Mapped[int] = mapped_column(BigInteger, ForeignKey("event.position"))
    state: Mapped[str] = mapped_column(server_default=text("'pending'"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_try: Mapped[datetime] = mapped_column(server_default=NOW)
    status: Mapped[int | None]  # of the last answer
    error: Mapped[str | None]  # why the last attempt failed
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    finished_at: Mapped[datetime | None]
