"""Embedding what the ledger has queued: claim, read and decode, forward, store. Each stage runs ahead of the next."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from core.blobs import Blobs
from core.errors import NotReady, PictureError, TransientError
from core.pipeline import ahead
from core.settings import Settings
from core.types import Embedder, ItemState, Lane, Pixels, Vectors
from db import embeddings, items, queries
from db.items import ClaimedItem
from db.session import Transaction

log = structlog.get_logger()

RELEASE_SECONDS = 2.0  # before an item is tried again whose failure may pass
STORE_PATIENCE_SECONDS = 45.0  # how long a finished batch waits for a database that restarts; below the lease


@dataclass(slots=True)
class Batch:
    """Claimed items on their way: `ready` and `pixels` belong together, then `vectors` too, row by row."""

    ready: list[ClaimedItem] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    vectors: Vectors | None = None
    failed: dict[UUID, tuple[str, str]] = field(default_factory=dict)
    released: list[UUID] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EmbeddingLine:
    """Everything that embedding needs, put together once a process. owner: the name its leases carry."""

    transaction: Transaction
    blobs: Blobs
    embedder: Embedder
    version_id: UUID
    owner: str
    settings: Settings
    decoders: Executor
    stopping: Callable[[], bool] = lambda: False

    def embed_items(self, lanes: Sequence[Lane]) -> int:
        """Embed what is queued in `lanes`, the first lane first, until nothing is left. Returns how many items ended.

        Killed at any point, nothing is lost: what was claimed and not stored is claimed again after its lease.
        """
        finished = 0
        decoded = ahead(self._decode(batch) for batch in self._claims(lanes))
        for batch in ahead(self._forward(batch) for batch in decoded):
            finished += self._store(batch)
        return finished

    def answer_queries(self) -> int:
        """Embed the pictures that searches wait for, until none is left. Returns how many."""
        answered = 0
        while claimed := self._claim_queries():
            answered += len(claimed)
            try:
                self._answer(claimed)
            except Exception:
                with self.transaction() as session:
                    queries.release_queries(session, [query_id for query_id, _ in claimed])
                raise
        return answered

    def _claims(self, lanes: Sequence[Lane]) -> Iterator[list[ClaimedItem]]:
        while not self.stopping() and (claimed := self._claim(lanes)):
            yield claimed

    def _claim(self, lanes: Iterable[Lane]) -> list[ClaimedItem]:
        with self.transaction() as session:
            for lane in lanes:
                claimed = items.claim_items(
                    session,
                    lane,
                    owner=self.owner,
                    limit=self.embedder.batch_size,
                    lease_seconds=self.settings.lease_seconds,
                    max_attempts=self.settings.max_attempts,
                )
                if claimed:
                    return claimed
        return []

    def _decode(self, claimed: list[ClaimedItem]) -> Batch:
        batch = Batch()
        outcomes = self.decoders.map(self._read, claimed)
        for item, outcome in zip(claimed, outcomes, strict=True):
            match outcome:
                case PictureError():
                    batch.failed[item.id] = (outcome.code, outcome.detail)
                case TransientError():
                    log.warning("will try again", item=str(item.id), error=outcome.detail)
                    batch.released.append(item.id)
                case _:
                    batch.ready.append(item)
                    batch.pixels.append(outcome)
        return batch

    def _read(self, item: ClaimedItem) -> Pixels | PictureError | TransientError:
        try:
            return self.embedder.decode(self.blobs.get(item.blob_key))
        except (PictureError, TransientError) as error:
            return error

    def _forward(self, batch: Batch) -> Batch:
        if batch.pixels:
            batch.vectors = self.embedder.embed(batch.pixels)
            batch.pixels = []  # the memory is wanted by the batches behind
        return batch

    def _store(self, batch: Batch) -> int:
        deadline = time.monotonic() + STORE_PATIENCE_SECONDS
        while True:
            try:
                return self._store_once(batch)
            except (NotReady, TransientError) as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("storing waits for the database", error=error.detail)
                time.sleep(0.5)

    def _store_once(self, batch: Batch) -> int:
        with self.transaction() as session:
            items.lock_items(session, [*(item.id for item in batch.ready), *batch.failed, *batch.released])
            # Items first: one that was cancelled, deleted or finished by another meanwhile brings no vector with it.
            done = items.finish_items(session, [item.id for item in batch.ready], ItemState.INDEXED)
            rows = [row for row, item in enumerate(batch.ready) if item.id in done]
            if batch.vectors is not None:
                owners = [(batch.ready[row].image_id, batch.ready[row].collection_id) for row in rows]
                embeddings.upsert_embeddings(session, self.version_id, owners, batch.vectors[rows])
            items.fail_items(session, batch.failed)
            items.release_items(session, batch.released, delay_seconds=RELEASE_SECONDS)
        return len(done) + len(batch.failed)

    def _claim_queries(self) -> list[tuple[UUID, bytes]]:
        with self.transaction() as session:
            return queries.claim_queries(session, self.embedder.batch_size)

    def _answer(self, claimed: list[tuple[UUID, bytes]]) -> None:
        pixels: dict[UUID, Pixels] = {}
        refused: dict[UUID, tuple[str, str]] = {}
        for query_id, picture in claimed:
            try:
                pixels[query_id] = self.embedder.decode(picture)
            except PictureError as error:
                refused[query_id] = (error.code, error.detail)
        vectors = self.embedder.embed(list(pixels.values()))
        with self.transaction() as session:
            queries.answer_queries(session, self.version_id, dict(zip(pixels, vectors, strict=True)))
            queries.refuse_queries(session, refused)
