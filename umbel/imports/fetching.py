"""Reading what sources have: bytes fetched, checked and stored, each listed item given its image or its error."""

from collections import deque
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.errors import (
    DecoderDied,
    SourceError,
    StorageFull,
    UmbelError,
)
from umbel.base.pipeline import ahead
from umbel.base.types import Decoder, Queue
from umbel.gallery import blob_cleanups, collections
from umbel.gallery.blob_cleanups import writing_blobs
from umbel.gallery.storing import ReceivedImage, StoredImage, store_images
from umbel.imports import entries, source_rows
from umbel.imports.listing import Lister
from umbel.imports.sources import Source, SourceSpec, open_source
from umbel.imports.sources.sample import Garden
from umbel.jobs import job_log
from umbel.jobs.claims import ClaimedEntry
from umbel.jobs.outcomes import Outcomes, retry_transient
from umbel.jobs.runner import Batch, ItemHandler

log = structlog.get_logger()

READERS = 8  # pictures read at once: a remote source is mostly waiting
READ_AHEAD = 2 * READERS  # pictures that are being read, or wait until those before them have been
FIRST_CHUNK = 16  # items stored in the first transaction, twice as many in each next: a model must not wait for CHUNK
CHUNK = 128
CHUNK_BYTES = 32 * 2**20  # fewer, where they are large: an import holds two parts in memory, and what it reads ahead
OPEN_SOURCES = 4

SPEC: TypeAdapter[SourceSpec] = TypeAdapter(SourceSpec)

Read = Iterator[tuple[ClaimedEntry, ReceivedImage | UmbelError]]  # what came of reading each entry


@dataclass(slots=True)
class FetchedBatch(Batch):
    """Claimed entries: those that were read, and what became of the others. size: of those that were read, in bytes."""

    items: list[ClaimedEntry]
    read: dict[UUID, ReceivedImage] = field(default_factory=dict)
    size: int = 0


@dataclass(kw_only=True, eq=False)
class FetchingHandler(ItemHandler[FetchedBatch]):
    """Lists sources and reads what they have; one a process. readers: the threads that read and write bytes."""

    blobs: Blobs
    decoder: Decoder
    readers: Executor
    wake: Callable[[Queue], object]
    garden: Garden | None = None

    queues = (Queue.FETCH,)
    batch_type = FetchedBatch
    ended_as = "fetched"

    def __post_init__(self) -> None:
        self._sources: dict[UUID, Source] = {}
        self._lister = Lister(self._source, self.settings)

    def prepare(self) -> bool:
        """List some more."""
        with self.transaction() as session:
            return self._lister.list_chunk(session)

    def limit(self, batches: int) -> int:
        """Twice as many each time, up to CHUNK."""
        return min(FIRST_CHUNK * 2 ** min(batches, 16), CHUNK)

    def begin(self, session: Session, queue: Queue, claimed: list[ClaimedEntry]) -> FetchedBatch:
        """All of them; sources that they do not come from are closed, if many are open."""
        self._close_sources({entry.job_id for entry in claimed})
        return super().begin(session, queue, claimed)

    def work(self, batches: Iterator[FetchedBatch]) -> Generator[FetchedBatch, None, None]:
        """Read, in parts that fit into memory; one is read while another is stored."""
        with closing(ahead(part for batch in batches for part in self._parts(batch))) as parts:
            yield from parts

    def close(self) -> None:
        """Close the sources."""
        self._close_sources()

    def _parts(self, batch: FetchedBatch) -> Iterator[FetchedBatch]:
        outcomes = self._outcomes(batch.items)
        while (part := self._read_part(batch.queue, outcomes)).items:
            yield part

    def _read_part(
        self, queue: Queue, outcomes: Iterator[tuple[ClaimedEntry, ReceivedImage | UmbelError]]
    ) -> FetchedBatch:
        """As many as may be in memory, each put where it belongs; an empty part at the end."""
        part = FetchedBatch(queue, [], Outcomes(queue, self.settings))
        with job_log.stage("read", queue, part.items):
            for entry, outcome in outcomes:
                part.items.append(entry)
                if isinstance(outcome, ReceivedImage):
                    part.read[entry.id] = outcome
                    part.size += len(outcome.data)
                else:
                    part.outcomes.take(entry, outcome)
                self.leases.note_progress()
                if part.size >= CHUNK_BYTES:
                    break
        return part

    def _outcomes(self, claimed: Sequence[ClaimedEntry]) -> Read:
        """What comes of reading each, in order, with some being read or waiting to be asked for."""
        coming: deque[tuple[ClaimedEntry, Future[ReceivedImage | UmbelError]]] = deque()
        for entry in claimed:
            coming.append((entry, self.readers.submit(self._read, entry, self._opened(entry.job_id))))
            if len(coming) == READ_AHEAD:
                done, outcome = coming.popleft()
                yield done, outcome.result()
        for done, outcome in coming:
            yield done, outcome.result()

    def _read(self, entry: ClaimedEntry, source: Source | UmbelError) -> ReceivedImage | UmbelError:
        if isinstance(source, UmbelError):
            return source
        try:
            data = source.read(entry.locator)
            info = self.decoder.inspect(data).result()
        except UmbelError as error:
            return error
        except RuntimeError as error:  # what no decoder should raise, as text
            return DecoderDied(str(error))
        return ReceivedImage.of(data, info, entry.collection, name=entry.name, label=entry.label, meta=entry.meta)

    def store(self, batch: FetchedBatch) -> None:
        """Store the bytes, and give each item its image."""
        try:
            retry_transient(lambda: self._store_once(batch))
        except StorageFull as error:
            log.warning("the blob store is full; will try again", error=error.detail)
            batch.outcomes.release(batch.read)
            batch.read = {}
            retry_transient(lambda: self._store_once(batch))
        batch.done = list(batch.read)
        self.wake(Queue.BULK)

    def _store_once(self, batch: FetchedBatch) -> None:
        """Images first, items and their jobs last: writing bytes must not hold up those who count."""
        with writing_blobs(self.transaction, [image.blob_key for image in batch.read.values()]) as session:
            stored = self._store_images(session, batch)
            unread = entries.lock_unread(session, [*stored, *batch.outcomes])
            orphans = entries.assign_images(session, stored, unread)
            blob_cleanups.insert_cleanups(session, orphans)
            batch.outcomes.store(session, self.leases.owner, among=unread)

    def _store_images(self, session: Session, batch: FetchedBatch) -> dict[UUID, StoredImage]:
        """Those beyond a quota fail; those whose collection was deleted meanwhile are left to the deletion."""
        places = collections.lock_collections(session, {image.collection for image in batch.read.values()})
        ids = {entry.id: entry.collection_id for entry in batch.items}
        received = {
            item: image
            for item, image in batch.read.items()
            if (place := places.get(image.collection)) and place.id == ids[item]
        }
        stored = {}
        for item, outcome in store_images(session, self.blobs, self.readers, received, places).items():
            if isinstance(outcome, StoredImage):
                stored[item] = outcome
            else:
                batch.outcomes.fail(item, outcome)
                del batch.read[item]
        return stored

    def _opened(self, job_id: UUID) -> Source | UmbelError:
        try:
            if job_id in self._sources:
                return self._sources[job_id]
            with self.transaction() as session:
                return self._source(session, job_id)
        except UmbelError as error:
            return error

    def _close_sources(self, needed: Container[UUID] = ()) -> None:
        """Those that are not needed now, if there are many; all without an argument."""
        for job_id in [each for each in self._sources if each not in needed]:
            if not needed or len(self._sources) > OPEN_SOURCES:
                self._sources.pop(job_id).close()

    def _source(self, session: Session, job_id: UUID) -> Source:
        """The job's source, kept open while it is in use. Raises SourceError, TransientError."""
        if job_id not in self._sources:
            source = source_rows.get_source(session, job_id)
            if source.spec.get("gone"):
                raise SourceError("What was uploaded for this import has been removed since; import it again.")
            spec = SPEC.validate_python(source.spec)
            self._sources[job_id] = open_source(spec, self.blobs, self.settings, self.garden, roots=source.roots)
        return self._sources[job_id]
