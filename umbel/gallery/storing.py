"""Taking images in: the one way in which an image gets its row and its bytes, by upload or by import."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.errors import ExternalIdTaken, QuotaExceeded, TransientError
from umbel.base.in_place import Location, in_place_key
from umbel.base.types import EXTERNAL, LATER_QUEUES, ImageInfo
from umbel.gallery import external_ids, quotas
from umbel.gallery.blob_cleanups import blob_key, insert_cleanups, lock_blobs
from umbel.gallery.collections import Place
from umbel.gallery.external_ids import IdentifiedImage, Replacement

K = TypeVar("K")
Refused = QuotaExceeded | ExternalIdTaken


@dataclass(frozen=True, slots=True)
class ReceivedImage:
    """An image that was received and inspected. name, external_id, label, meta: what its sender says of it.

    location: where its bytes stay, if they are not to be written.
    """

    data: bytes
    sha256: bytes
    info: ImageInfo
    collection: str
    name: str | None = None
    label: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    external_id: str | None = None
    location: Location | None = None

    @classmethod
    def of(cls, data: bytes, info: ImageInfo, collection: str, **described: Any) -> "ReceivedImage":
        return cls(data, sha256(data).digest(), info, collection, **described)

    @property
    def blob_key(self) -> str:
        if self.location:
            return in_place_key(self.collection, self.sha256, self.location)
        return blob_key(self.collection, self.sha256)


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of its collection. new: it was not there before; replaced: it was, with another picture.

    to_embed: it is to get a vector; False: it has one, or a job is about to embed it. job_id: that job, or the one that
    has embedded it; None: it is to be embedded, or the job is not kept.
    """

    id: UUID
    new: bool = True
    job_id: UUID | None = None
    replaced: bool = False
    to_embed: bool = True


def store_images(
    session: Session,
    blobs: Blobs,
    writers: Executor,
    received: Mapping[K, ReceivedImage],
    places: Mapping[str, Place],
) -> dict[K, StoredImage | Refused]:
    """The rows of received images; those that are new to their collections are inserted and their bytes written.

    Those that come under the external id of an image replace its picture, see umbel/gallery/external_ids.py.
    session: of `writing_blobs`. places: their collections by name, of `lock_collections`.
    Raises StorageFull, TransientError.
    """
    if not received:
        return {}
    identified = _identified(received.values(), places)
    external_ids.lock_external_ids(session, [(each.collection_id, each.external_id) for each in identified])
    former = external_ids.list_replaceable_blobs(session, identified)
    lock_blobs(session, [*(image.blob_key for image in received.values()), *former])
    outcomes: dict[K, StoredImage | Refused] = {}
    for some in _rounds(received):
        outcomes |= _store_some(session, blobs, writers, some, places)
    return {each: outcomes[each] for each in received}


def _rounds(received: Mapping[K, ReceivedImage]) -> Iterator[dict[K, ReceivedImage]]:
    """Images that may be stored together: of an external id one, and under it no bytes that others have, too."""
    left = dict(received)
    while left:
        some: dict[K, ReceivedImage] = {}
        seen: set[object] = set()
        identified: set[object] = set()
        for each, image in left.items():
            mark: object = image.blob_key
            if image.external_id is None:
                fits, marks = image.blob_key not in identified, {mark}
            else:
                marks = {mark, (image.collection, image.external_id)}
                fits = seen.isdisjoint(marks)
                identified |= marks
            seen |= marks
            if fits:
                some[each] = image
        yield some
        left = {each: image for each, image in left.items() if each not in some}


def _store_some(
    session: Session,
    blobs: Blobs,
    writers: Executor,
    received: Mapping[K, ReceivedImage],
    places: Mapping[str, Place],
) -> dict[K, StoredImage | Refused]:
    images: dict[str, ReceivedImage] = {}
    for image in received.values():
        images.setdefault(image.blob_key, image)  # of the same bytes, those that came first
    found = external_ids.settle_identified(session, _identified(images.values(), places))
    outcomes: dict[str, StoredImage | Refused] = dict(found.taken)

    def left() -> list[ReceivedImage]:
        return [image for key, image in images.items() if key not in outcomes]

    replacements = found.replacements
    if any(place.limited for place in places.values()):  # what is there already needs no room
        outcomes |= _find_stored(session, left(), places)
        outcomes |= _rejected(session, left(), places, replacements)
    due = [each for key, each in replacements.items() if key not in outcomes]
    ids = external_ids.replace_pictures(session, due)
    insert_cleanups(session, [replacements[key].former_blob for key in ids])
    outcomes |= {key: StoredImage(image_id, new=False, replaced=True) for key, image_id in ids.items()}
    new = _insert_images(session, left(), places)
    written = [key for key in (*ids, *new) if images[key].location is None]
    for _ in writers.map(lambda key: blobs.put(key, images[key].data), written):
        pass  # inside the transaction: no row is ever committed without its bytes
    outcomes |= {key: StoredImage(image_id) for key, image_id in new.items()}
    outcomes |= _find_stored(session, left(), places)
    if left():
        raise TransientError("The same image was removed by another request meanwhile; send it again.")
    return {each: outcomes[image.blob_key] for each, image in received.items()}


def _identified(images: Iterable[ReceivedImage], places: Mapping[str, Place]) -> list[IdentifiedImage]:
    return [
        IdentifiedImage(
            collection_id=places[image.collection].id,
            external_id=image.external_id,
            sha256=image.sha256,
            blob_key=image.blob_key,
            size=len(image.data),
            info=image.info,
            name=image.name,
            label=image.label,
            meta=image.meta or None,
        )
        for image in images
        if image.external_id is not None
    ]


# Find the images that are there already, the job of the last item of each that did not fail, and whether they are to be
# embedded: the last item failed, or there is none (they were restored, or the job is pruned), and no vector either.
STORED = text(f"""
    SELECT collection_id, sha256, image.id,
           CASE WHEN newest.state NOT IN ('failed', 'cancelled') THEN newest.job_id END,
           CASE WHEN newest.state IS NOT NULL THEN newest.state IN ('failed', 'cancelled') ELSE NOT EXISTS (
               SELECT FROM embedding e JOIN model_version v ON v.id = e.model_version_id
               WHERE e.image_id = image.id AND v.architecture <> '{EXTERNAL}') END
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
    wanted = {image.blob_key: (places[image.collection].id, image.sha256) for image in images}
    collections, hashes = map(list, zip(*wanted.values(), strict=True))
    rows = session.execute(STORED, {"collections": collections, "hashes": hashes, "later": list(LATER_QUEUES)})
    found = {(row[0], bytes(row[1])): StoredImage(row[2], new=False, job_id=row[3], to_embed=row[4]) for row in rows}
    return {key: found[each] for key, each in wanted.items() if each in found}


INFOS = text("""
    SELECT collection_id, sha256, media_type, width, height, note
    FROM unnest(CAST(:collections AS uuid[]), CAST(:hashes AS bytea[])) AS given(collection_id, sha256)
    JOIN image USING (collection_id, sha256)
""")


def find_infos(session: Session, images: Sequence[tuple[UUID, bytes]]) -> dict[tuple[UUID, bytes], ImageInfo]:
    """What the images are that collections have already, of (collection id, SHA-256)."""
    if not images:
        return {}
    collections, hashes = map(list, zip(*images, strict=True))
    rows = session.execute(INFOS, {"collections": collections, "hashes": hashes})
    return {(row.collection_id, bytes(row.sha256)): ImageInfo(*row[2:]) for row in rows}


def _rejected(
    session: Session,
    images: Sequence[ReceivedImage],
    places: Mapping[str, Place],
    replacements: Mapping[str, Replacement],
) -> dict[str, QuotaExceeded]:
    """Those of the new images for which their collections have no room, by blob key."""
    limited = {places[image.collection].id for image in images if places[image.collection].limited}
    rooms, rejected = quotas.lock_rooms(session, limited), {}
    for image in images if rooms else ():
        if room := rooms.get(places[image.collection].id):
            former = replacements.get(image.blob_key)
            try:
                room.replace(former.former_size, len(image.data)) if former else room.take(len(image.data))
            except QuotaExceeded as error:
                rejected[image.blob_key] = error
    return rejected


COLUMNS = {
    "collection_id": "uuid", "sha256": "bytea", "blob_key": "text", "media_type": "text", "size": "int8",
    "width": "int4", "height": "int4", "name": "text", "label": "text", "metadata": "jsonb", "note": "text",
    "external_id": "text",
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
         each.info.width, each.info.height, each.name, each.label, Jsonb(each.meta), each.info.note, each.external_id)
        for each in images
    ]  # fmt: skip
    values = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    return {row.blob_key: row.id for row in session.execute(INSERT, values)}
