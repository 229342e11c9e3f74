"""Reading what sources have: bytes fetched, checked and stored, each listed item given its image or its error."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
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
    SourceGivenUp,
    SourceUnreachable,
    StorageFull,
    UmbelError,
)
from umbel.base.pipeline import ahead
from umbel.base.types import Decoder, Queue
from umbel.gallery import blob_cleanups, collections
from umbel.gallery.blob_cleanups import writing_blobs
from umbel.gallery.storing import ReceivedImage, StoredImage, store_images
from umbel.imports import entries, source_rows
from umbel.imports.listing import Lister, note_unreachable
from umbel.imports.sources import Source, SourceSpec, open_source
from umbel.imports.sources.sample import Garden
from umbel.imports.turns import Turns
from umbel.jobs import job_log
from umbel.jobs.claims import ClaimedEntry
from umbel.jobs.outcomes import Outcomes, retry_transient
from umbel.jobs.positions import Positions
from umbel.jobs.runner import Batch, ItemHandler

log = structlog.get_logger()

READERS = 8  # pictures read at once: a remote source is mostly waiting
READ_AHEAD = 2 * READERS  # pictures that are being read, or wait until those before them have been
FIRST_CHUNK = 16  # items stored in the first transaction, twice as many in each next: a model must not wait for CHUNK
CHUNK = 128
CHUNK_BYTES = 32 * 2**20  # fewer, where they are large: an import holds two parts in memory, and what it reads ahead
TURNS_AT_ONCE = 4  # sources that a process lists and reads side by side, each by a handler of its own

SPEC: TypeAdapter[SourceSpec] = TypeAdapter(SourceSpec)

Read = Iterator[tuple[ClaimedEntry, ReceivedImage | UmbelError]]  # what came of reading each entry


@dataclass(slots=True)
class FetchedBatch(Batch):
    """Claimed entries: those that were read, and what became of the others. size: of those that were read, in bytes.

    unreachable: why none could be read, if it is the source's fault.
    """

    items: list[ClaimedEntry]
    read: dict[UUID, ReceivedImage] = field(default_factory=dict)
    size: int = 0
    unreachable: str | None = None


@dataclass(kw_only=True, eq=False)
class FetchingHandler(ItemHandler[FetchedBatch]):
    """Lists sources and reads what they have, one source a turn; several in a process, which share `turns`.

    readers: threads that read from this handler's source alone; writers: those that write bytes, which wait for no
    source.
    """

    blobs: Blobs
    decoder: Decoder
    readers: Executor
    writers: Executor
    turns: Turns
    wake: Callable[[Queue], object]
    garden: Garden | None = None

    queues = (Queue.FETCH,)
    batch_type = FetchedBatch
    ended_as = "fetched"

    def __post_init__(self) -> None:
        self._job: UUID | None = None  # whose turn it is
        self._source: Source | None = None  # opened
        self._idle: set[UUID] = set()  # of which nothing can be had in this run
        self._lister = Lister(self.transaction, self._open, self.settings)

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
        """List some more."""
        return self._job is not None and self._lister.list_chunk(self._job)

    def limit(self, batches: int) -> int:
        """Twice as many each time, up to CHUNK."""
        return min(FIRST_CHUNK * 2 ** min(batches, 16), CHUNK)

    def work(self, batches: Iterator[FetchedBatch]) -> Generator[FetchedBatch, None, None]:
        """Read, in parts that fit into memory; one is read while another is stored."""
        with closing(ahead(part for batch in batches for part in self._parts(batch))) as parts:
            yield from parts

    def close(self) -> None:
        """Close the source."""
        if self._source is not None:
            self._lister.forget()
            self._source.close()
            self._source = None

    def _parts(self, batch: FetchedBatch) -> Iterator[FetchedBatch]:
        outcomes = self._outcomes(batch.items)
        while (part := self._read_part(batch.queue, outcomes)).items:
            yield part

    def _read_part(
        self, queue: Queue, outcomes: Iterator[tuple[ClaimedEntry, ReceivedImage | UmbelError]]
    ) -> FetchedBatch:
        """As many as may be in memory, each put where it belongs; an empty part at the end."""
        part = FetchedBatch(queue, [], Outcomes(queue, self.settings))
        away: list[str] = []
        with job_log.stage("read", queue, part.items):
            for entry, outcome in outcomes:
                part.items.append(entry)
                if isinstance(outcome, ReceivedImage):
                    part.read[entry.id] = outcome
                    part.size += len(outcome.data)
                else:
                    part.outcomes.take(entry, outcome)
                if isinstance(outcome, SourceUnreachable):
                    away.append(outcome.detail)
                self.leases.note_progress()
                if part.size >= CHUNK_BYTES:
                    break
        if away and len(away) == len(part.items):
            part.unreachable, part.postponed = away[-1], True
        return part

    def _outcomes(self, claimed: Sequence[ClaimedEntry]) -> Read:
        """What comes of reading each, in order, with some being read or waiting to be asked for.

        When one reading of each reader in a row has found the source away, the others are not tried.
        """
        source, away = self._opened(claimed[0].job_id), 0
        coming: deque[tuple[ClaimedEntry, Future[ReceivedImage | UmbelError]]] = deque()
        left = deque(claimed)
        while left or coming:
            while left and len(coming) < READ_AHEAD:
                coming.append((left[0], self.readers.submit(self._read, left.popleft(), source)))
            entry, reading = coming.popleft()
            outcome = reading.result()
            away = away + 1 if isinstance(outcome, SourceUnreachable) else 0
            if isinstance(outcome, SourceUnreachable) and away >= READERS:
                source = outcome
            yield entry, outcome

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
        return ReceivedImage.of(
            data,
            info,
            entry.collection,
            name=entry.name,
            label=entry.label,
            meta=entry.meta,
            external_id=entry.external_id,
        )

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
        retry_transient(lambda: self._note(batch))
        self.wake(Queue.BULK)

    def _store_once(self, batch: FetchedBatch) -> None:
        """Images first, items and their jobs last: writing bytes must not hold up those who count."""
        with writing_blobs(self.transaction, [image.blob_key for image in batch.read.values()]) as session:
            stored = self._store_images(session, batch)
            unread = entries.lock_unread(session, [*stored, *batch.outcomes])
            orphans = entries.assign_images(session, stored, unread)
            entries.embed_replaced(session, batch.items, stored, unread)
            blob_cleanups.insert_cleanups(session, orphans)
            batch.outcomes.store(session, self.leases.owner, among=unread)

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
        return stored

    def _opened(self, job_id: UUID) -> Source | UmbelError:
        try:
            with self.transaction() as session:
                source = source_rows.get_source(session, job_id)
            return SourceGivenUp(source.error or "") if source.given_up else self._open(job_id)
        except UmbelError as error:
            return error

    def _open(self, job_id: UUID) -> Source:
        """The source whose turn it is, kept open while that lasts. Raises SourceError, TransientError, NotReady."""
        if self._source is None:
            with self.transaction() as session:
                source = source_rows.get_source(session, job_id)
            if source.spec.get("gone"):
                raise SourceError("What was uploaded for this import has been removed since; import it again.")
            spec = SPEC.validate_python(source.spec)
            self._source = open_source(spec, self.blobs, self.settings, self.garden, roots=source.roots)
        return self._source
