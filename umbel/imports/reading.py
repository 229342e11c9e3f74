"""Reading what was listed: bytes from a source, inspected, and decoded for the model where that is at hand."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from umbel.base.database import Transaction
from umbel.base.errors import SourceUnreachable, UmbelError, Unreadable
from umbel.base.in_place import LONGEST_URL, Location
from umbel.base.settings import Settings
from umbel.base.types import Decoder, ImageInfo, Pixels, Queue
from umbel.embedding.handoff import Handoff
from umbel.gallery.storing import ReceivedImage, find_infos
from umbel.imports.sources import FilesInPlace, Source
from umbel.jobs import job_log
from umbel.jobs.claims import ClaimedEntry
from umbel.jobs.leases import Leases
from umbel.jobs.outcomes import Outcomes, retry_transient
from umbel.jobs.runner import Batch

READERS = 8  # pictures read at once: a remote source is mostly waiting
READ_AHEAD = 2 * READERS  # pictures that are being read, or wait until those before them have been
CHUNK_BYTES = 32 * 2**20  # fewer, where they are large: an import holds two parts in memory, and what it reads ahead


class Hashed(NamedTuple):
    """Bytes that were read, and their SHA-256. location: where they stay, if they are not to be copied."""

    data: bytes
    sha256: bytes
    location: Location | None = None


Read = Iterator[tuple[ClaimedEntry, Hashed | UmbelError]]  # what came of reading each entry
Visit = Callable[[], tuple[ImageInfo, Pixels | None]]  # to a decoder: waits for what it finds, pixels if it makes them


@dataclass(slots=True)
class FetchedBatch(Batch):
    """Claimed entries: those that were read, and what became of the others. size: of those that were read, in bytes.

    data: bytes that were read and are still to be decoded; pixels: what `decoder` made of those that are new.
    unreachable: why none could be read, if it is the source's fault. removes: a job was opened that removes images
    whose files show others now.
    """

    items: list[ClaimedEntry]
    data: dict[UUID, Hashed] = field(default_factory=dict)
    read: dict[UUID, ReceivedImage] = field(default_factory=dict)
    decoder: Decoder | None = None
    pixels: dict[UUID, Pixels] = field(default_factory=dict)
    size: int = 0
    unreachable: str | None = None
    removes: bool = False


@dataclass(kw_only=True)
class Reader:
    """Reads from one source at a time, for one FetchingHandler.

    opened: the source of a job, or why it is not open; and whether what it has stays in place. readers: threads that
    read from it alone. handoff: to the model of this process, whose pixels are made in the same visit to a decoder.
    """

    transaction: Transaction
    settings: Settings
    leases: Leases
    decoder: Decoder
    readers: Executor
    handoff: Handoff | None
    opened: Callable[[UUID], tuple[Source | UmbelError, bool]]

    def parts(self, batch: FetchedBatch) -> Iterator[FetchedBatch]:
        """A batch in parts that fit into memory, read and not yet decoded."""
        outcomes = self._outcomes(batch.items)
        while (part := self._read_part(batch.queue, outcomes)).items:
            yield part

    def _read_part(self, queue: Queue, outcomes: Read) -> FetchedBatch:
        """As many as may be in memory, each put where it belongs; an empty part at the end."""
        part = FetchedBatch(queue, [], Outcomes(queue, self.settings))
        away: list[str] = []
        with job_log.stage("read", queue, part.items):
            for entry, outcome in outcomes:
                part.items.append(entry)
                if isinstance(outcome, Hashed):
                    part.data[entry.id] = outcome
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
        (source, in_place), away = self.opened(claimed[0].job_id), 0
        coming: deque[tuple[ClaimedEntry, Future[Hashed | UmbelError]]] = deque()
        left = deque(claimed)
        while left or coming:
            while left and len(coming) < READ_AHEAD:
                coming.append((left[0], self.readers.submit(_read, left.popleft(), source, in_place=in_place)))
            entry, reading = coming.popleft()
            outcome = reading.result()
            away = away + 1 if isinstance(outcome, SourceUnreachable) else 0
            if isinstance(outcome, SourceUnreachable) and away >= READERS:
                source = outcome
            yield entry, outcome

    def decode(self, part: FetchedBatch) -> FetchedBatch:
        """Inspect what is new, and have the model's pixels made of it in the same visit to a decoder."""
        part.decoder = self.handoff.decoder if self.handoff else None
        entries = [entry for entry in part.items if entry.id in part.data]
        with job_log.stage("decode", part.queue, entries):
            for entry, seen in self._visits(part, entries):
                data = part.data.pop(entry.id)
                try:
                    info, pixels = seen()
                except (UmbelError, RuntimeError) as error:  # RuntimeError: what no decoder should raise, as text
                    part.outcomes.take(entry, error)
                else:
                    part.read[entry.id] = _received(entry, data, info)
                    if pixels is not None:
                        part.pixels[entry.id] = pixels
                self.leases.note_progress()
        return part

    def _visits(self, part: FetchedBatch, entries: Sequence[ClaimedEntry]) -> Iterator[tuple[ClaimedEntry, Visit]]:
        """What comes of showing each to a decoder, in order, with some being there or waiting to be asked for."""
        known = retry_transient(lambda: self._known(part, entries))
        coming: deque[tuple[ClaimedEntry, Visit]] = deque()
        for entry in entries:
            if len(coming) == READ_AHEAD:
                yield coming.popleft()
            data = part.data[entry.id]
            coming.append((entry, self._visit(part, data.data, known.get((entry.collection_id, data.sha256)))))
        yield from coming

    def _known(self, part: FetchedBatch, entries: Sequence[ClaimedEntry]) -> dict[tuple[UUID, bytes], ImageInfo]:
        with self.transaction() as session:
            return find_infos(session, [(entry.collection_id, part.data[entry.id].sha256) for entry in entries])

    def _visit(self, part: FetchedBatch, data: bytes, known: ImageInfo | None) -> Visit:
        if known:  # its bytes have been inspected before
            return lambda: (known, None)
        if part.decoder:
            return part.decoder.inspect_and_decode(data).result
        inspected = self.decoder.inspect(data)
        return lambda: (inspected.result(), None)


def _read(entry: ClaimedEntry, source: Source | UmbelError, *, in_place: bool) -> Hashed | UmbelError:
    if isinstance(source, UmbelError):
        return source
    try:
        if in_place and isinstance(source, FilesInPlace):
            data, location = source.read_original(entry.locator)
            if len(location.url) > LONGEST_URL:
                raise Unreadable("Its path is too long for a picture that stays in place; import it as a copy.")
        else:
            data, location = source.read(entry.locator), None
    except UmbelError as error:
        return error
    return Hashed(data, sha256(data).digest(), location)


def _received(entry: ClaimedEntry, read: Hashed, info: ImageInfo) -> ReceivedImage:
    return ReceivedImage(
        read.data,
        read.sha256,
        info,
        entry.collection,
        location=read.location,
        name=entry.name,
        label=entry.label,
        meta=entry.meta,
        external_id=entry.external_id,
    )
