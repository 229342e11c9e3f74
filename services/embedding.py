"""Embedding what the ledger has queued: claim, decode, forward, store. Each stage runs ahead of the next."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
import structlog

from core.errors import DecoderDied, PictureError, TransientError
from core.pipeline import ahead
from core.settings import Settings
from core.types import Decoder, Embedder, ItemState, Lane, Pixels, Vectors
from db import claims, embeddings, items, queries
from db.claims import ClaimedItem
from db.session import Transaction
from services.patience import patiently

log = structlog.get_logger()

RELEASE_SECONDS = 2.0  # before an item is tried again whose failure may pass
TURN_SECONDS = 10.0  # between two looks at the suspects while an import keeps the line busy


@dataclass(slots=True)
class Batch:
    """Claimed items on their way: `ready` and `pixels` belong together, then `vectors` too, row by row."""

    ready: list[ClaimedItem] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    vectors: list[Vectors] = field(default_factory=list)
    failed: dict[UUID, tuple[str, str]] = field(default_factory=dict)
    released: list[UUID] = field(default_factory=list)  # tried again, the attempt does not count
    blamed: list[UUID] = field(default_factory=list)  # tried again, it does


@dataclass(frozen=True, slots=True)
class EmbeddingLine:
    """Everything that embedding needs, put together once a process. owner: the name its leases carry."""

    transaction: Transaction
    embedder: Embedder
    decoder: Decoder
    version_id: UUID
    owner: str
    settings: Settings
    stopping: Callable[[], bool] = lambda: False

    def embed_items(self, lanes: Sequence[Lane]) -> int:
        """Embed what is queued in `lanes`, the first lane first, until nothing is left. Returns how many items ended.

        Killed at any point, nothing is lost: what was claimed and not stored is claimed again after its lease.
        """
        finished = 0
        while turn := self._embed_fresh(lanes) + self._embed_suspects(lanes):
            finished += turn
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

    def _embed_fresh(self, lanes: Sequence[Lane]) -> int:
        decoded = ahead(self._decode(batch) for batch in self._fresh_batches(lanes))
        return sum(self._store(batch) for batch in ahead(self._forward(batch) for batch in decoded))

    def _embed_suspects(self, lanes: Sequence[Lane]) -> int:
        """One batch after the other, so that a death among them has no neighbours."""
        finished = 0
        while not self.stopping() and (claimed := self._claim_suspects(lanes)):
            finished += self._store(self._forward(self._decode(claimed)))
        return finished

    def _fresh_batches(self, lanes: Sequence[Lane]) -> Iterator[list[ClaimedItem]]:
        until = time.monotonic() + TURN_SECONDS
        while not self.stopping() and time.monotonic() < until and (claimed := self._claim_fresh(lanes)):
            yield claimed

    def _claim_fresh(self, lanes: Sequence[Lane]) -> list[ClaimedItem]:
        limit, lease = self.embedder.batch_size, self.settings.lease_seconds
        with self.transaction() as session:
            for lane in lanes:
                claimed = claims.claim_items(session, lane, owner=self.owner, limit=limit, lease_seconds=lease)
                if claimed:
                    return claimed
        return []

    def _claim_suspects(self, lanes: Sequence[Lane]) -> list[ClaimedItem]:
        with self.transaction() as session:
            for lane in lanes:
                claimed = claims.claim_suspects(
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
        coming = [self.decoder.decode(item.blob_key) for item in claimed]
        for item, pixels in zip(claimed, coming, strict=True):
            try:
                batch.pixels.append(pixels.result())
            except PictureError as error:
                batch.failed[item.id] = (error.code, error.detail)
            except TransientError as error:
                log.warning("will try again", item=str(item.id), error=error.detail)
                batch.released.append(item.id)
            except (DecoderDied, RuntimeError) as error:  # RuntimeError: what no decoder should raise, as text
                self._blame(batch, item, str(error))
            else:
                batch.ready.append(item)
        return batch

    def _forward(self, batch: Batch) -> Batch:
        ready, pixels = batch.ready, batch.pixels
        batch.ready, batch.pixels = [], []
        self._embed(batch, ready, pixels)
        return batch

    def _embed(self, batch: Batch, ready: list[ClaimedItem], pixels: list[Pixels]) -> None:
        """Embed all at once; should that fail, each half by itself, down to the one picture that is to blame."""
        if not ready:
            return
        try:
            vectors = self.embedder.embed(pixels)
        except Exception as error:
            log.warning("a batch failed", pictures=len(ready), error=str(error))
            if len(ready) == 1:
                self._blame(batch, ready[0], f"The model failed on it: {error}")
                return
            half = len(ready) // 2
            self._embed(batch, ready[:half], pixels[:half])
            self._embed(batch, ready[half:], pixels[half:])
        else:
            batch.ready += ready
            batch.vectors.append(vectors)

    def _blame(self, batch: Batch, item: ClaimedItem, reason: str) -> None:
        if item.attempts < self.settings.max_attempts:
            log.warning("will try again alone", item=str(item.id), attempts=item.attempts, reason=reason)
            batch.blamed.append(item.id)
        else:
            batch.failed[item.id] = (DecoderDied.code, f"Given up after {item.attempts} attempts. {reason}")

    def _store(self, batch: Batch) -> int:
        return patiently(lambda: self._store_once(batch))

    def _store_once(self, batch: Batch) -> int:
        with self.transaction() as session:
            ready = [item.id for item in batch.ready]
            items.lock_items(session, [*ready, *batch.failed, *batch.released, *batch.blamed])
            # Items first: one that was cancelled, deleted or finished by another meanwhile brings no vector with it.
            done = items.finish_items(session, ready, ItemState.INDEXED)
            rows = [row for row, item in enumerate(batch.ready) if item.id in done]
            if rows:
                owners = [(batch.ready[row].image_id, batch.ready[row].collection_id) for row in rows]
                embeddings.upsert_embeddings(session, self.version_id, owners, np.concatenate(batch.vectors)[rows])
            items.fail_items(session, batch.failed)
            claims.release_items(session, batch.released, delay_seconds=RELEASE_SECONDS)
            claims.release_items(session, batch.blamed, delay_seconds=0, blameless=False)
        return len(done) + len(batch.failed)

    def _claim_queries(self) -> list[tuple[UUID, bytes]]:
        with self.transaction() as session:
            return queries.claim_queries(session, self.embedder.batch_size)

    def _answer(self, claimed: list[tuple[UUID, bytes]]) -> None:
        pixels: dict[UUID, Pixels] = {}
        refused: dict[UUID, tuple[str, str]] = {}
        coming = {query_id: self.decoder.decode(picture, urgent=True) for query_id, picture in claimed}
        for query_id, decoded in coming.items():
            try:
                pixels[query_id] = decoded.result()
            except (PictureError, DecoderDied) as error:
                refused[query_id] = (error.code, error.detail)
        vectors = self.embedder.embed(list(pixels.values()))
        with self.transaction() as session:
            queries.answer_queries(session, self.version_id, dict(zip(pixels, vectors, strict=True)))
            queries.refuse_queries(session, refused)
