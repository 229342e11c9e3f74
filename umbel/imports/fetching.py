"""Reading what sources have: bytes fetched, checked and stored, each listed item given its image or its error."""

from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.errors import (
    DecoderDied,
    NotReady,
    SourceError,
    StorageFull,
    TransientError,
    UmbelError,
    Unreachable,
)
from umbel.base.pipeline import ahead
from umbel.base.settings import Settings
from umbel.base.types import Decoder, Garden, Queue
from umbel.gallery import blob_cleanups, collections
from umbel.gallery.blob_cleanups import writing_blobs
from umbel.gallery.storing import ReceivedImage, StoredImage, store_images
from umbel.imports import entries, source_rows
from umbel.imports.listing import Lister
from umbel.imports.sources import Source, SourceSpec, open_source
from umbel.jobs import claims, job_log
from umbel.jobs.claims import ClaimedEntry, Leases
from umbel.jobs.outcomes import Outcomes, retry_transient

log = structlog.get_logger()

READERS = 8  # pictures read at once: a remote source is mostly waiting
READ_AHEAD = 2 * READERS  # pictures that are being read, or wait until those before them have been
FIRST_CHUNK = 16  # items stored in the first transaction, twice as many in each next: a model must not wait for CHUNK
CHUNK = 128
CHUNK_BYTES = 32 * 2**20  # fewer, where they are large: an import holds two chunks in memory, and what it reads ahead
OPEN_SOURCES = 4

SPEC: TypeAdapter[SourceSpec] = TypeAdapter(SourceSpec)


@dataclass(slots=True)
class Chunk:
    """Some claimed items: those that were read, and what became of the others."""

    outcomes: Outcomes
    read: dict[UUID, ReceivedImage] = field(default_factory=dict)
    size: int = 0
    claimed: list[ClaimedEntry] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.claimed)


class FetchLine:
    """Lists sources and reads what they have; one a process."""

    def __init__(
        self,
        transaction: Transaction,
        blobs: Blobs,
        decoder: Decoder,
        settings: Settings,
        leases: Leases,
        *,
        readers: Executor,
        wake: Callable[[Queue], object],
        garden: Garden | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._transaction, self._blobs, self._decoder, self._readers = transaction, blobs, decoder, readers
        self._settings, self._leases, self._wake, self._stopping = settings, leases, wake, stopping
        self._garden = garden
        self._sources: dict[UUID, Source] = {}
        self._lister = Lister(self._source, settings)

    def run(self) -> None:
        """List and read, a chunk of each in turn, until nothing is left; one chunk is read while another is stored."""
        try:
            with closing(ahead(self._chunks())) as chunks:
                for chunk in chunks:
                    self._store(chunk)
        finally:
            self._leases.let_go_of_all()  # of chunks that an error has stopped on their way
            self._close_sources()

    def _chunks(self) -> Iterator[Chunk]:
        size = FIRST_CHUNK
        while not self._stopping():
            listed, claimed = self._list(), self._claim(size)
            if not (listed or claimed):
                return
            size = min(2 * size, CHUNK)
            outcomes = self._outcomes(claimed)
            while chunk := self._read_chunk(outcomes):
                yield chunk

    def _list(self) -> bool:
        with self._transaction() as session:
            return self._lister.list_chunk(session)

    def _claim(self, limit: int) -> list[ClaimedEntry]:
        claimed: list[ClaimedEntry] = []
        with job_log.stage("claim", Queue.FETCH, claimed), self._transaction() as session:
            claimed += claims.claim_entries(
                session,
                owner=self._leases.owner,
                limit=limit,
                lease_seconds=self._leases.seconds,
                max_attempts=self._settings.max_attempts,
            )
        self._leases.hold(entry.id for entry in claimed)
        job_log.claimed(Queue.FETCH, claimed)
        self._close_sources({entry.job_id for entry in claimed})
        return claimed

    def _read_chunk(self, outcomes: Iterator[tuple[ClaimedEntry, ReceivedImage | UmbelError]]) -> Chunk:
        """As many as may be in memory, each put where it belongs; an empty chunk at the end."""
        chunk = Chunk(Outcomes(Queue.FETCH, self._settings.max_attempts))
        with job_log.stage("read", Queue.FETCH, chunk.claimed):
            for entry, outcome in outcomes:
                self._sort(chunk, entry, outcome)
                self._leases.note_progress()
                if chunk.size >= CHUNK_BYTES:
                    break
        return chunk

    def _outcomes(self, claimed: Sequence[ClaimedEntry]) -> Iterator[tuple[ClaimedEntry, ReceivedImage | UmbelError]]:
        """What comes of reading each, in order, with some being read or waiting to be asked for."""
        coming: deque[tuple[ClaimedEntry, Future[ReceivedImage | UmbelError]]] = deque()
        for entry in claimed:
            coming.append((entry, self._readers.submit(self._read, entry, self._opened(entry.job_id))))
            if len(coming) == READ_AHEAD:
                done, outcome = coming.popleft()
                yield done, outcome.result()
        for done, outcome in coming:
            yield done, outcome.result()

    def _sort(self, chunk: Chunk, entry: ClaimedEntry, outcome: ReceivedImage | UmbelError) -> None:
        chunk.claimed.append(entry)
        match outcome:
            case ReceivedImage():
                chunk.read[entry.id] = outcome
                chunk.size += len(outcome.data)
            case Unreachable() if entry.retries + 1 >= self._settings.url_tries:
                reason = f"Given up after {entry.retries + 1} tries. {outcome.detail}"
                chunk.outcomes.failed[entry.id] = (outcome.code, reason)
            case NotReady() | TransientError():
                if not entry.retries:  # told once: a source that is away for long has many entries, tried each minute
                    job_log.retried(Queue.FETCH, entry, outcome.detail)
                chunk.outcomes.release([entry.id])
            case DecoderDied():
                chunk.outcomes.count_attempt(entry, outcome.detail)
            case _:
                chunk.outcomes.fail(entry.id, outcome)

    def _read(self, entry: ClaimedEntry, source: Source | UmbelError) -> ReceivedImage | UmbelError:
        if isinstance(source, UmbelError):
            return source
        try:
            data = source.read(entry.locator)
            info = self._decoder.inspect(data).result()
        except UmbelError as error:
            return error
        except RuntimeError as error:  # what no decoder should raise, as text
            return DecoderDied(str(error))
        return ReceivedImage.of(data, info, entry.collection, name=entry.name, label=entry.label, meta=entry.meta)

    def _store(self, chunk: Chunk) -> None:
        with job_log.stage("store", Queue.FETCH, chunk.claimed):
            try:
                retry_transient(lambda: self._store_once(chunk))
            except StorageFull as error:
                log.warning("the blob store is full; will try again", error=error.detail)
                chunk.outcomes.release(chunk.read)
                chunk.read = {}
                retry_transient(lambda: self._store_once(chunk))
        self._leases.let_go(entry.id for entry in chunk.claimed)
        job_log.ended("fetched", Queue.FETCH, chunk.claimed, chunk.read, chunk.outcomes.failed)
        self._wake(Queue.BULK)

    def _store_once(self, chunk: Chunk) -> None:
        """Images first, items and their jobs last: writing bytes must not hold up those who count."""
        with writing_blobs(self._transaction, [image.blob_key for image in chunk.read.values()]) as session:
            stored = self._store_images(session, chunk)
            unread = entries.lock_unread(session, [*stored, *chunk.outcomes])
            orphans = entries.assign_images(session, stored, unread)
            blob_cleanups.insert_cleanups(session, orphans)
            chunk.outcomes.store(session, self._leases.owner, among=unread)

    def _store_images(self, session: Session, chunk: Chunk) -> dict[UUID, StoredImage]:
        """Those beyond a quota fail; those whose collection was deleted meanwhile are left to the deletion."""
        places = collections.lock_collections(session, {image.collection for image in chunk.read.values()})
        ids = {entry.id: entry.collection_id for entry in chunk.claimed}
        received = {
            item: image
            for item, image in chunk.read.items()
            if (place := places.get(image.collection)) and place.id == ids[item]
        }
        stored = {}
        for item, outcome in store_images(session, self._blobs, self._readers, received, places).items():
            if isinstance(outcome, StoredImage):
                stored[item] = outcome
            else:
                chunk.outcomes.fail(item, outcome)
                del chunk.read[item]
        return stored

    def _opened(self, job_id: UUID) -> Source | UmbelError:
        try:
            if job_id in self._sources:
                return self._sources[job_id]
            with self._transaction() as session:
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
            spec = source_rows.get_spec(session, job_id)
            if spec.get("gone"):
                raise SourceError("What was uploaded for this import has been removed since; import it again.")
            self._sources[job_id] = open_source(SPEC.validate_python(spec), self._blobs, self._settings, self._garden)
        return self._sources[job_id]
