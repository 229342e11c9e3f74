"""What sources have is listed, read (umbel/imports/reading.py) and stored: each item gets its image or its error."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from uuid import UUID

import structlog
from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.errors import SourceError, SourceGivenUp, StorageFull, UmbelError
from umbel.base.pipeline import ahead, map_ahead
from umbel.base.types import Decoder, JobType, Queue
from umbel.changes import bulk_rows
from umbel.changes.bulk_rows import Chosen
from umbel.embedding.handoff import HandedItem, Handoff
from umbel.gallery import blob_cleanups, collections
from umbel.gallery.blob_cleanups import writing_blobs
from umbel.gallery.locations import follow_moved, list_former
from umbel.gallery.storing import StoredImage, store_images
from umbel.imports import entries, source_rows
from umbel.imports.listing import Lister, note_unreachable
from umbel.imports.reading import FetchedBatch, Reader
from umbel.imports.sources import Source, SourceSpec, open_source
from umbel.imports.sources.sample import Garden
from umbel.imports.sources.source import FolderSource, S3Source
from umbel.imports.sync import comparing
from umbel.imports.turns import Turns
from umbel.jobs.claims import ClaimedEntry
from umbel.jobs.outcomes import retry_transient
from umbel.jobs.positions import Positions
from umbel.jobs.runner import ItemHandler

log = structlog.get_logger()

FIRST_CHUNK = 16  # items stored in the first transaction, twice as many in each next: a model must not wait for CHUNK
CHUNK = 128
TURNS_AT_ONCE = 4  # sources that a process lists and reads side by side, each by a handler of its own

SPEC: TypeAdapter[SourceSpec] = TypeAdapter(SourceSpec)


@dataclass(kw_only=True, eq=False)
class FetchingHandler(ItemHandler[FetchedBatch]):
    """Lists sources and reads what they have, one source a turn; several in a process, which share `turns`.

    handoff: to the model of this process, if it embeds what is imported. readers: threads that read from this handler's
    source alone; writers: those that write bytes, which wait for no source.
    """

    blobs: Blobs
    decoder: Decoder
    readers: Executor
    writers: Executor
    turns: Turns
    wake: Callable[[Queue], object]
    handoff: Handoff | None = None
    garden: Garden | None = None

    queues = (Queue.FETCH,)
    batch_type = FetchedBatch
    ended_as = "fetched"

    def __post_init__(self) -> None:
        self._job: UUID | None = None  # whose turn it is
        self._source: Source | None = None  # opened
        self._in_place = False  # whether what it has is not copied
        self._idle: set[UUID] = set()  # of which nothing can be had in this run
        self._lister = Lister(self.transaction, self._open, self.settings)
        self._reader = Reader(
            transaction=self.transaction,
            settings=self.settings,
            leases=self.leases,
            decoder=self.decoder,
            readers=self.readers,
            handoff=self.handoff,
            opened=self._opened,
        )

    def run(self, queues: Sequence[Queue] | None = None) -> int:
        """Give each source its turn, until there is nothing to do for any."""
        self._idle.clear()
        return super().run(queues)

    def take_turn(self, queues: Sequence[Queue]) -> tuple[int, bool]:
        """Of the source that has waited longest."""
        with self.turns.take(self._idle) as job_id:
            if job_id is None:
                return 0, False
            if job_id != self._job:
                self.close()
            self._job, self._batches, self._positions = job_id, 0, Positions()
            ended, more = super().take_turn(queues)
            if not more:
                self._idle.add(job_id)
            return ended, True

    def source(self) -> UUID | None:
        """The one whose turn it is."""
        return self._job

    def prepare(self) -> bool:
        """List some more, and wait for the model where it has enough to do."""
        listed = self._job is not None and self._lister.list_chunk(self._job)
        if self.handoff:
            self.handoff.wait_until_wanted(self.stopping)
        return listed

    def limit(self, batches: int) -> int:
        """Twice as many each time, up to CHUNK."""
        return min(FIRST_CHUNK * 2 ** min(batches, 16), CHUNK)

    def work(self, batches: Iterator[FetchedBatch]) -> Generator[FetchedBatch, None, None]:
        """Read, in parts that fit into memory, then decode; one is read while others are decoded and stored."""
        with (
            closing(ahead(part for batch in batches for part in self._reader.parts(batch))) as parts,
            closing(map_ahead(self._reader.decode, parts)) as decoded,
        ):
            yield from decoded

    def close(self) -> None:
        """Close the source."""
        if self._source is not None:
            self._lister.forget()
            self._source.close()
            self._source = None

    def store(self, batch: FetchedBatch) -> None:
        """Store the bytes, and give each item its image."""
        try:
            handed, left = retry_transient(lambda: self._store_once(batch))
        except StorageFull as error:
            log.warning("the blob store is full; will try again", error=error.detail)
            batch.outcomes.release(batch.read)
            batch.read = {}
            handed, left = retry_transient(lambda: self._store_once(batch))
        batch.done = list(batch.read)
        if self.handoff and handed:
            self.handoff.put(handed)
            self.wake(Queue.FETCH)  # others that read, too, embed what they have read
        if left:
            self.wake(Queue.BULK)
        if batch.removes:
            self.wake(Queue.CHANGE)
        retry_transient(lambda: self._note(batch))

    def _store_once(self, batch: FetchedBatch) -> tuple[list[HandedItem], int]:
        """Images first, items and their jobs last: writing bytes must not hold up those who count.

        Returns the items that are to be handed over, and how many others are to be embedded.
        """
        with writing_blobs(self.transaction, [image.blob_key for image in batch.read.values()]) as session:
            stored = self._store_images(session, batch)
            unread = entries.lock_unread(session, [*stored, *batch.outcomes])
            keep, lease = self._fitting(batch), (self.leases.owner, self.leases.seconds)
            assigned = entries.assign_images(session, stored, unread, keep=keep, lease=lease)
            others = entries.embed_replaced(session, batch.items, stored, unread)
            blob_cleanups.insert_cleanups(session, assigned.orphans)
            batch.outcomes.store(session, self.leases.owner, among=unread)
        handed = [_handed(entry, batch, stored[entry.id].id) for entry in batch.items if entry.id in assigned.kept]
        return handed, len(assigned.to_embed) - len(handed) + others

    def _fitting(self, batch: FetchedBatch) -> set[UUID]:
        """The items whose pixels there is room for."""
        room = self.handoff.room() if self.handoff else 0
        sizes = accumulate(pixels.nbytes for pixels in batch.pixels.values())
        return {item for item, size in zip(batch.pixels, sizes, strict=True) if size <= room}

    def _note(self, batch: FetchedBatch) -> None:
        """Whether the source could be reached."""
        with self.transaction() as session:
            job_id = batch.items[0].job_id
            if batch.read:
                source_rows.note_reached(session, job_id)
            elif batch.unreachable:
                note_unreachable(session, source_rows.lock_source(session, job_id), batch.unreachable, self.settings)

    def _store_images(self, session: Session, batch: FetchedBatch) -> dict[UUID, StoredImage]:
        """Those that are refused fail; those whose collection was deleted meanwhile are left to the deletion."""
        places = collections.lock_collections(session, {image.collection for image in batch.read.values()})
        ids = {entry.id: entry.collection_id for entry in batch.items}
        received = {
            item: image
            for item, image in batch.read.items()
            if (place := places.get(image.collection)) and place.id == ids[item]
        }
        stored = {}
        for item, outcome in store_images(session, self.blobs, self.writers, received, places).items():
            if isinstance(outcome, StoredImage):
                stored[item] = outcome
            else:
                batch.outcomes.fail(item, outcome)
                del batch.read[item]
        if self._in_place and stored:
            self._settle_locations(session, batch, stored)
        return stored

    def _settle_locations(self, session: Session, batch: FetchedBatch, stored: Mapping[UUID, StoredImage]) -> None:
        """Images whose files have moved are where they are now; those whose files show others now are removed.

        A sync does the latter itself, when it knows all its files.
        """
        first = batch.items[0]  # all are of one job
        moved = {image.id: batch.read[item].blob_key for item, image in stored.items() if not image.new}
        follow_moved(session, self.blobs, moved)
        if comparing.find_run(session, first.job_id):
            return
        read = {image.id: batch.read[item].location for item, image in stored.items()}
        images = {location.url: image_id for image_id, location in read.items() if location}
        former = list_former(session, first.collection_id, images)
        batch.removes = bool(former)
        if former:
            bulk_rows.insert_bulk(
                session, JobType.REMOVAL, Chosen(ids=former), collection_id=first.collection_id, changes={}
            )

    def _opened(self, job_id: UUID) -> tuple[Source | UmbelError, bool]:
        """The source, or why it is not open; and whether what it has stays in place."""
        try:
            with self.transaction() as session:
                source = source_rows.get_source(session, job_id)
            if source.given_up:
                raise SourceGivenUp(source.error or "")
            return self._open(job_id), self._in_place
        except UmbelError as error:
            return error, self._in_place

    def _open(self, job_id: UUID) -> Source:
        """The source whose turn it is, kept open while that lasts. Raises SourceError, TransientError, NotReady."""
        if self._source is None:
            with self.transaction() as session:
                source = source_rows.get_source(session, job_id)
            if source.spec.get("gone"):
                raise SourceError("What was uploaded for this import has been removed since; import it again.")
            spec = SPEC.validate_python(source.spec)
            self._source = open_source(spec, self.blobs, self.settings, self.garden, roots=source.roots)
            self._in_place = isinstance(spec, FolderSource | S3Source) and spec.in_place
        return self._source


def _handed(entry: ClaimedEntry, batch: FetchedBatch, image_id: UUID) -> HandedItem:
    assert batch.decoder is not None  # it has made the pixels
    return HandedItem(
        id=entry.id,
        job_id=entry.job_id,
        collection_id=entry.collection_id,
        attempts=1,
        request_id=entry.request_id,
        traceparent=entry.traceparent,
        waited=entry.waited,
        image_id=image_id,
        blob_key=batch.read[entry.id].blob_key,
        decoder=batch.decoder,
        pixels=batch.pixels[entry.id],
    )
