"""Taking images in: the one way in which an image gets its row and its bytes, by upload or by import."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.errors import QuotaExceeded, TransientError
from umbel.base.types import LATER_QUEUES, ImageInfo
from umbel.gallery import quotas
from umbel.gallery.blob_cleanups import blob_key, lock_blobs
from umbel.gallery.collections import Place

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class ReceivedImage:
    """An image that was received and inspected. name, label, meta: what its sender says of it."""

    data: bytes
    sha256: bytes
    info: ImageInfo
    collection: str
    name: str | None = None
    label: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, data: bytes, info: ImageInfo, collection: str, **described: Any) -> "ReceivedImage":
        return cls(data, sha256(data).digest(), info, collection, **described)

    @property
    def blob_key(self) -> str:
        return blob_key(self.collection, self.sha256)


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of its collection. new: it was not there before.

    job_id: the job that embeds it or has embedded it; None if none has come so far, or the newest came to nothing.
    """

    id: UUID
    new: bool = True
    job_id: UUID | None = None


def store_images(
    session: Session,
    blobs: Blobs,
    writers: Executor,
    received: Mapping[K, ReceivedImage],
    places: Mapping[str, Place],
) -> dict[K, StoredImage | QuotaExceeded]:
    """The rows of received images; those that are new to their collections are inserted and their bytes written.

    session: of `writing_blobs`. places: their collections by name, of `lock_collections`.
    Raises StorageFull, TransientError.
    """
    images: dict[str, ReceivedImage] = {}
    for image in received.values():
        images.setdefault(image.blob_key, image)  # of the same bytes, those that came first
    if not images:
        return {}
    lock_blobs(session, images)
    outcomes: dict[str, StoredImage | QuotaExceeded] = {}

    def left() -> list[ReceivedImage]:
        return [image for key, image in images.items() if key not in outcomes]

    if any(place.limited for place in places.values()):  # what is there already needs no room
        outcomes |= _find_stored(session, left(), places)
        outcomes |= _rejected(session, left(), places)
    ids = _insert_images(session, left(), places)
    for _ in writers.map(lambda key: blobs.put(key, images[key].data), ids):
        pass  # inside the transaction: no row is ever committed without its bytes
    outcomes |= {key: StoredImage(image_id) for key, image_id in ids.items()}
    outcomes |= _find_stored(session, left(), places)
    if left():
        raise TransientError("The same image was removed by another request meanwhile; send it again.")
    return {each: outcomes[image.blob_key] for each, image in received.items()}


# Find the images that are there already, and the job of the last item of each that did not fail.
STORED = text("""
    SELECT image.blob_key, image.id, CASE WHEN newest.state NOT IN ('failed', 'cancelled') THEN newest.job_id END
    FROM unnest(CAST(:collections AS uuid[]), CAST(:hashes AS bytea[])) AS given(collection_id, sha256)
    JOIN image USING (collection_id, sha256)
    LEFT JOIN LATERAL (
        SELECT state, job_id FROM job_item
        WHERE image_id = image.id AND state <> 'duplicate' AND queue <> ALL (:later) ORDER BY id DESC LIMIT 1
    ) newest ON true
""")


def _find_stored(
    session: Session, images: Sequence[ReceivedImage], places: Mapping[str, Place]
) -> dict[str, StoredImage]:
    """Those that their collections have already, by blob key."""
    if not images:
        return {}
    wanted = [(places[image.collection].id, image.sha256) for image in images]
    collections, hashes = map(list, zip(*wanted, strict=True))
    rows = session.execute(STORED, {"collections": collections, "hashes": hashes, "later": list(LATER_QUEUES)})
    return {key: StoredImage(image_id, new=False, job_id=job_id) for key, image_id, job_id in rows}


def _rejected(
    session: Session, images: Sequence[ReceivedImage], places: Mapping[str, Place]
) -> dict[str, QuotaExceeded]:
    """Those of the new images for which their collections have no room, by blob key."""
    limited = {places[image.collection].id for image in images if places[image.collection].limited}
    rooms, rejected = quotas.lock_rooms(session, limited), {}
    for image in images if rooms else ():
        if room := rooms.get(places[image.collection].id):
            try:
                room.take(len(image.data))
            except QuotaExceeded as error:
                rejected[image.blob_key] = error
    return rejected


COLUMNS = {
    "collection_id": "uuid", "sha256": "bytea", "blob_key": "text", "media_type": "text", "size": "int8",
    "width": "int4", "height": "int4", "name": "text", "label": "text", "metadata": "jsonb", "note": "text",
}  # fmt: skip
# As text: to build it anew for each upload would take longer than to send it.
INSERT = text(f"""
    INSERT INTO image ({", ".join(COLUMNS)})
    SELECT * FROM unnest({", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in COLUMNS.items())})
    ON CONFLICT (collection_id, sha256) DO NOTHING RETURNING blob_key, id
""")


def _insert_images(session: Session, images: Sequence[ReceivedImage], places: Mapping[str, Place]) -> dict[str, UUID]:
    """Those that their collections did not have: {blob key: id}, the ids ascending in the order of `images`."""
    if not images:
        return {}
    rows = [
        (places[each.collection].id, each.sha256, each.blob_key, each.info.media_type, len(each.data),
         each.info.width, each.info.height, each.name, each.label, Jsonb(each.meta), each.info.note)
        for each in images
    ]  # fmt: skip
    values = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    return {row.blob_key: row.id for row in session.execute(INSERT, values)}
