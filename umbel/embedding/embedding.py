"""Embedding what the ledger has queued: claim, decode, forward, store. Each stage runs ahead of the next.

A new picture is embedded with every maintained model version: the active one, and the one beside it while there is
one. Which these are is looked up when a batch is claimed, and once more, under a lock, when it is stored.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import numpy as np
import structlog
from sqlalchemy.orm import Session

from umbel.base import tracing
from umbel.base.database import Transaction, autocommit
from umbel.base.errors import DecoderDied, ImageError, NotReady, TransientError, UmbelError
from umbel.base.metrics import STAGES
from umbel.base.pipeline import map_ahead
from umbel.base.settings import Settings
from umbel.base.types import Decoder, ItemState, LoadedModel, Models, Pixels, Queue, Vectors
from umbel.embedding import embeddings, query_images
from umbel.embedding.query_images import Asked
from umbel.jobs import claims, items, job_log
from umbel.jobs.claims import ClaimedItem, Leases
from umbel.jobs.outcomes import Outcomes, retry_transient
from umbel.models import versions

log = structlog.get_logger()

# Batches at the decoders, and in the model. Several processes or threads share a batch, and one that is done with it
# early takes up the next instead of waiting; decoders do not wait for the next claim either.
AT_ONCE = 2
QUERIES_AT_ONCE = 32  # pictures to search by that are answered together
TURN_SECONDS = 10.0  # between two looks at items claimed before while an import keeps the line busy


@dataclass(frozen=True, slots=True)
class Claim:
    """Items to embed together, and with which versions."""

    items: list[ClaimedItem]
    versions: list[UUID]
    queue: Queue

    @property
    def background(self) -> bool:
        """Whether others go first."""
        return self.queue != Queue.SINGLE


@dataclass(slots=True)
class Batch:
    """Claimed items on their way to vectors of `models`: `ready` and `pixels` belong together, then `vectors` too.

    pixels: for each item one for each model; vectors: for each model those of all items, in parts.
    """

    claim: Claim
    models: list[LoadedModel]
    outcomes: Outcomes
    ready: list[ClaimedItem] = field(default_factory=list)
    pixels: list[list[Pixels]] = field(default_factory=list)
    vectors: dict[UUID, list[Vectors]] = field(default_factory=dict)
    done: list[UUID] = field(default_factory=list)  # stored


@dataclass(frozen=True, slots=True)
class EmbeddingLine:
    """Everything that embedding needs, put together once a process."""

    transaction: Transaction
    models: Models
    leases: Leases
    settings: Settings
    stopping: Callable[[], bool] = lambda: False
    fatal: Callable[[Exception], bool] = lambda _: False  # whether an error is this process's end, not a picture's
    works: Callable[[LoadedModel], bool] = lambda _: True  # whether a model still embeds what it could when loaded
    forwarded: Callable[[bool], None] = lambda _: None  # told of each batch whether any picture of it got a vector

    def embed_items(self, queues: Sequence[Queue]) -> int:
        """Embed what is queued in `queues`, the first queue first, until nothing is left. Returns how many items ended.

        Killed at any point, nothing is lost: what was claimed and not stored is claimed again after its lease.
        """
        finished = 0
        try:
            while turn := self._embed_fresh(queues) + self._embed_again(queues):
                finished += turn
        finally:
            self.leases.let_go_of_all()  # of batches that an error has stopped on their way
        return finished

    def answer_queries(self) -> int:
        """Embed the pictures that searches wait for, until none is left. Returns how many."""
        answered = 0
        while (asked := query_images.claim_queries(QUERIES_AT_ONCE)).images:
            answered += len(asked.images)
            try:
                with STAGES.labels("answer", Queue.QUERY).time():
                    self._answer(asked)
            except Exception as error:
                self.fatal(error)
                query_images.release_queries(list(asked.images))
                raise
        return answered

    def _embed_fresh(self, queues: Sequence[Queue]) -> int:
        # Closed before the leases are let go, whatever is raised: no stage works on for what others may claim.
        with (
            closing(map_ahead(self._decode, self._fresh_batches(queues), at_once=AT_ONCE)) as decoded,
            closing(map_ahead(self._forward, decoded, at_once=AT_ONCE)) as forwarded,
        ):
            return sum(map(self._store, forwarded))

    def _embed_again(self, queues: Sequence[Queue]) -> int:
        """One batch after the other, so that a death among them has no neighbors."""
        finished = 0
        claim = partial(claims.claim_again, max_attempts=self.settings.max_attempts)
        while not self.stopping() and (claimed := self._claim_from(queues, claim)):
            finished += self._store(self._forward(self._decode(claimed)))
        return finished

    def _fresh_batches(self, queues: Sequence[Queue]) -> Iterator[Claim]:
        until = time.monotonic() + TURN_SECONDS
        while not self.stopping() and time.monotonic() < until:
            claimed = self._claim_from(queues, claims.claim_items)
            if claimed is None:
                return
            yield claimed

    def _claim_from(self, queues: Sequence[Queue], claim: Callable[..., list[ClaimedItem]]) -> Claim | None:
        limit = self._batch_size()
        with self.transaction() as session:
            for queue in queues:
                claimed: list[ClaimedItem] = []
                with job_log.stage("claim", queue, claimed):
                    claimed += claim(
                        session, queue, owner=self.leases.owner, limit=limit, lease_seconds=self.leases.seconds
                    )
                if claimed:
                    return self._claim(session, queue, claimed)
        return None

    def _claim(self, session: Session, queue: Queue, claimed: list[ClaimedItem]) -> Claim:
        """Items for all maintained versions or, of a reindex, for its own."""
        wanted = claimed[0].version_id
        others = [item.id for item in claimed if item.version_id != wanted]  # of a reindex that was just cancelled
        claims.release_items(session, others, owner=self.leases.owner, delay_seconds=0)
        same = [item for item in claimed if item.version_id == wanted]
        self.leases.hold(item.id for item in same)
        embed_with = [wanted] if wanted else versions.list_maintained(session)
        job_log.claimed(queue, same)
        return Claim(same, embed_with, queue)

    def _batch_size(self) -> int:
        return self._active().embedder.batch_size

    def _active(self) -> LoadedModel:
        """The model of searches. Raises NotReady."""
        with autocommit() as session:
            active = versions.get_active_key(session)
        [model] = self.models.load([active.id])
        return model

    def _decode(self, claim: Claim) -> Batch:
        batch = Batch(claim, [], Outcomes(claim.queue, self.settings.max_attempts))
        try:
            batch.models = self.models.load(claim.versions)
        except UmbelError as error:  # not the fault of any image
            log.error("a model cannot be loaded", error=error.detail)
            batch.outcomes.release(item.id for item in claim.items)
            return batch
        with job_log.stage("decode", claim.queue, claim.items, traced=claim.background):
            self._take_pixels(batch, claim.items)
        return batch

    def _take_pixels(self, batch: Batch, claimed: list[ClaimedItem]) -> None:
        coming = [self._bring(batch, item) for item in claimed]
        for item, pixels in zip(claimed, coming, strict=True):
            try:
                batch.pixels.append([pixels[model.decoder].result() for model in batch.models])
            except ImageError as error:
                batch.outcomes.fail(item.id, error)
            except TransientError as error:
                job_log.retried(batch.claim.queue, item, error.detail)
                batch.outcomes.release([item.id])
            except (DecoderDied, RuntimeError) as error:  # RuntimeError: what no decoder should raise, as text
                batch.outcomes.count_attempt(item, str(error))
            else:
                batch.ready.append(item)
            self.leases.note_progress()

    def _bring(self, batch: Batch, item: ClaimedItem) -> dict[Decoder, Future[Pixels]]:
        """To its decoders: models that prepare pictures alike share one, and its pixels.

        A picture that somebody waits for has the spans of its own decoding in its trace; an import, those of batches.
        """
        with tracing.within(None if batch.claim.background else item.traceparent):
            return {model.decoder: model.decoder.decode(item.blob_key) for model in batch.models}

    def _forward(self, batch: Batch) -> Batch:
        ready, pixels = batch.ready, batch.pixels
        batch.ready, batch.pixels = [], []
        with job_log.stage("forward", batch.claim.queue, ready):
            self._embed(batch, ready, pixels)
        if ready:
            self.leases.note_progress()
            self.forwarded(bool(batch.vectors))
        return batch

    def _embed(self, batch: Batch, ready: list[ClaimedItem], pixels: list[list[Pixels]]) -> None:
        """Embed all at once; should that fail, each half by itself, down to the one picture that is to blame."""
        if not ready:
            return
        try:
            vectors = {
                model.version_id: model.embedder.embed(
                    [each[place] for each in pixels], background=batch.claim.background
                )
                for place, model in enumerate(batch.models)
            }
            if not all(np.isfinite(some).all() for some in vectors.values()):
                raise ArithmeticError("its vector is not finite")
        except Exception as error:
            # What is the process's fault spends no item's attempt: only a model that still works can blame an image.
            if self.fatal(error) or not all(map(self.works, batch.models)):
                batch.outcomes.release([item.id for item in ready], delay_seconds=0)
                return
            log.warning("a batch failed", images=len(ready), error=str(error))
            if len(ready) == 1:
                batch.outcomes.count_attempt(ready[0], f"The model failed on it: {error}")
                return
            half = len(ready) // 2
            self._embed(batch, ready[:half], pixels[:half])
            self._embed(batch, ready[half:], pixels[half:])
        else:
            batch.ready += ready
            for version_id, some in vectors.items():
                batch.vectors.setdefault(version_id, []).append(some)

    def _store(self, batch: Batch) -> int:
        """Returns how many items ended."""
        with job_log.stage("store", batch.claim.queue, batch.claim.items):
            while (missed := retry_transient(lambda: self._try_to_store(batch))) is not None:
                self._catch_up(batch, missed)
        self.leases.let_go(item.id for item in batch.claim.items)
        job_log.ended("embedded", batch.claim.queue, batch.claim.items, batch.done, batch.outcomes.failed)
        return len(batch.ready) + len(batch.outcomes.failed)

    def _try_to_store(self, batch: Batch) -> list[UUID] | None:
        """None when it is stored; else nothing is, and these versions have become maintained since it was claimed."""
        with self.transaction() as session:
            versions.lock_states(session, shared=True)
            if batch.ready and batch.ready[0].version_id is None:
                missed = [each for each in versions.list_maintained(session) if each not in batch.vectors]
                if missed:
                    return missed
            ready = [item.id for item in batch.ready]
            items.lock_items(session, [*ready, *batch.outcomes])
            # Items first: one that was cancelled, deleted or finished by another meanwhile brings no vector with it.
            done = items.finish_items(session, ready, ItemState.INDEXED)
            self._store_vectors(session, batch, [row for row, item in enumerate(batch.ready) if item.id in done])
            batch.outcomes.store(session, self.leases.owner)
        batch.done = list(done)
        return None

    def _store_vectors(self, session: Session, batch: Batch, rows: list[int]) -> None:
        if not rows:
            return
        owners = [(batch.ready[row].image_id, batch.ready[row].collection_id) for row in rows]
        for version_id in versions.list_with_vectors(session).intersection(batch.vectors):
            vectors = np.concatenate(batch.vectors[version_id])[rows]
            embeddings.upsert_embeddings(session, version_id, owners, vectors)

    def _catch_up(self, batch: Batch, missed: list[UUID]) -> None:
        """Embed what is ready with versions that came late, too; what they cannot embed is as if no version could."""
        log.info("a batch is embedded again", images=len(batch.ready), versions=[str(each) for each in missed])
        late = self._forward(self._decode(Claim(batch.ready, missed, batch.claim.queue)))
        place = {item.id: row for row, item in enumerate(batch.ready)}
        rows = [place[item.id] for item in late.ready]
        early = {version: [np.concatenate(parts)[rows]] for version, parts in batch.vectors.items()}
        batch.ready, batch.vectors = late.ready, early | late.vectors
        batch.outcomes.add(late.outcomes)

    def _answer(self, asked: Asked) -> None:
        if asked.version_id is None:
            raise NotReady(versions.NO_MODEL)
        [model] = self.models.load([asked.version_id])
        pixels: dict[UUID, Pixels] = {}
        rejected: dict[UUID, tuple[str, str]] = {}
        coming = {query_id: model.decoder.decode(image, urgent=True) for query_id, image in asked.images.items()}
        for query_id, decoded in coming.items():
            try:
                pixels[query_id] = decoded.result()
            except (ImageError, DecoderDied) as error:
                rejected[query_id] = (error.code, error.detail)
        if rejected:
            query_images.refuse_queries(rejected)
        if pixels:
            vectors = model.embedder.embed(list(pixels.values()))
            query_images.answer_queries(model.version_id, dict(zip(pixels, vectors, strict=True)))
