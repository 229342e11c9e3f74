"""Embedding what the ledger has queued: decode, forward, store. Each stage runs ahead of the next.

A new picture is embedded with every maintained model version: the active one, and the one beside it while there is
one. Which these are is looked up when a batch is claimed, and once more, under a lock, when it is stored.
"""

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import structlog
from sqlalchemy.orm import Session

from umbel.base import tracing
from umbel.base.database import autocommit
from umbel.base.errors import DecoderDied, ImageError, NotReady, TransientError, UmbelError
from umbel.base.metrics import STAGES
from umbel.base.pipeline import map_ahead
from umbel.base.progress import Progress
from umbel.base.types import Decoder, Embedder, LoadedModel, Models, Pixels, Queue, Vectors
from umbel.embedding import embeddings, query_images, tiles
from umbel.embedding.handoff import HandedItem, Handoff
from umbel.embedding.query_images import Asked
from umbel.gallery.tiles import LAYOUTS, find_layouts
from umbel.jobs import claims, job_log
from umbel.jobs.claims import ClaimedItem
from umbel.jobs.outcomes import Outcomes, retry_transient
from umbel.jobs.runner import Batch, ItemHandler
from umbel.models import versions

log = structlog.get_logger()

# Batches at the decoders, and in the model. Several processes or threads share a batch, and one that is done with it
# early takes up the next instead of waiting; decoders do not wait for the next claim either.
AT_ONCE = 2
QUERIES_AT_ONCE = 32  # pictures to search by that are answered together


@dataclass(slots=True)
class EmbeddingBatch(Batch):
    """Claimed items on their way to vectors: `versions` are to embed them, by `models`.

    layouts: how many tiles images have, by collection. pixels: of each item for each model those of the whole and of
    its tiles; vectors: of each model those of all that are ready, in parts; tiles: and those of their tiles, by item.
    """

    items: Sequence[ClaimedItem]
    versions: list[UUID] = field(default_factory=list)
    models: list[LoadedModel] = field(default_factory=list)
    layouts: dict[UUID, int] = field(default_factory=dict)
    pixels: dict[UUID, list[list[Pixels]]] = field(default_factory=dict)
    vectors: dict[UUID, list[Vectors]] = field(default_factory=dict)
    tiles: dict[UUID, dict[UUID, Vectors]] = field(default_factory=dict)

    @property
    def background(self) -> bool:
        """Whether others go first."""
        return self.queue != Queue.SINGLE


class Decoding(NamedTuple):
    """The pixels of an image and of its tiles, if it has some, on their way."""

    whole: Future[Pixels]
    tiles: Future[list[Pixels]] | None

    def result(self) -> list[Pixels]:
        """The whole first. Raises as the decoder's futures do."""
        return [self.whole.result(), *(self.tiles.result() if self.tiles else ())]


@dataclass(kw_only=True, eq=False)
class EmbeddingHandler(ItemHandler[EmbeddingBatch]):
    """Embeds what is queued, and the images that searches wait for; one a process."""

    models: Models
    fatal: Callable[[Exception], bool] = lambda _: False  # whether an error is this process's end, not a picture's
    works: Callable[[LoadedModel], bool] = lambda _: True  # whether a model still embeds what it could when loaded
    forwarded: Callable[[bool], None] = lambda _: None  # told of each batch whether any picture of it got a vector
    handoff: Handoff | None = None  # by which images come that this process has read and decoded
    searching: Progress = field(default_factory=Progress)  # of the images that searches wait for

    queues = (Queue.SINGLE, Queue.BULK, Queue.REINDEX)
    batch_type = EmbeddingBatch
    ended_as = "embedded"

    def run(self, queues: Sequence[Queue] | None = None) -> int:
        """Work on what is queued until nothing is left. What is handed over and not taken up goes back to the queue."""
        through = False
        try:
            ended = super().run(queues)
            through = not self.stopping()
        finally:
            if self.handoff and not through:
                self._leave(self.handoff.take(sys.maxsize))
        return ended

    def claim_new(self, session: Session, queue: Queue, *, limit: int, **options: Any) -> list[Any]:
        """Of imports, first what was handed over."""
        handed = self.handoff.take(limit) if self.handoff and queue == Queue.BULK else []
        if handed:
            owner, seconds = self.leases.owner, self.leases.seconds
            ours = claims.claim_reserved(session, [item.id for item in handed], owner=owner, lease_seconds=seconds)
            self.leases.let_go(item.id for item in handed if item.id not in ours)
            if claimed := [item for item in handed if item.id in ours]:
                return claimed
        return super().claim_new(session, queue, limit=limit, **options)

    def _leave(self, handed: Sequence[HandedItem]) -> None:
        """To anyone, now; or when their leases run out."""
        try:
            with self.transaction() as session:
                claims.end_reservations(session, [item.id for item in handed], owner=self.leases.owner)
        except (NotReady, TransientError) as error:
            log.warning("leases are left to run out", images=len(handed), error=error.detail)

    def answer_queries(self) -> int:
        """Embed the pictures that searches wait for, until none is left. Returns how many."""
        answered = 0
        while (asked := query_images.claim_queries(QUERIES_AT_ONCE)).images:
            answered += len(asked.images)
            try:
                with STAGES.labels("answer", Queue.QUERY).time(), self.searching.working():
                    self._answer(asked)
            except Exception as error:
                self.fatal(error)
                query_images.release_queries(list(asked.images))
                raise
        return answered

    def limit(self, batches: int) -> int:
        """As many as the model of searches takes at once. Raises NotReady."""
        with autocommit() as session:
            active = versions.get_active_key(session)
        [model] = self.models.load([active.id])
        return model.embedder.batch_size

    def begin(self, session: Session, queue: Queue, claimed: list[ClaimedItem]) -> EmbeddingBatch:
        """Items for all maintained versions or, of a reindex, for its own."""
        wanted = claimed[0].version_id
        others = [item.id for item in claimed if item.version_id != wanted]  # of a reindex that was just cancelled
        claims.release_items(session, others, owner=self.leases.owner, delay_seconds=0)
        same = [item for item in claimed if item.version_id == wanted]
        embed_with = [wanted] if wanted else versions.list_maintained(session)
        layouts = find_layouts(session, {item.collection_id for item in same})
        return EmbeddingBatch(queue, same, Outcomes(queue, self.settings), versions=embed_with, layouts=layouts)

    def work(self, batches: Iterator[EmbeddingBatch]) -> Generator[EmbeddingBatch, None, None]:
        """Decode, then forward."""
        with (
            closing(map_ahead(self._decode, batches, at_once=AT_ONCE)) as decoded,
            closing(map_ahead(self._forward, decoded, at_once=AT_ONCE)) as forwarded,
        ):
            yield from forwarded

    def _decode(self, batch: EmbeddingBatch) -> EmbeddingBatch:
        try:
            batch.models = self.models.load(batch.versions)
        except UmbelError as error:  # not the fault of any image
            log.error("a model cannot be loaded", error=error.detail)
            batch.outcomes.release(item.id for item in batch.items)
            return batch
        if self.handoff and batch.queue == Queue.BULK and batch.models:
            self.handoff.decoder = batch.models[0].decoder
        with job_log.stage("decode", batch.queue, batch.items, traced=batch.background):
            self._take_pixels(batch)
        return batch

    def _take_pixels(self, batch: EmbeddingBatch) -> None:
        coming = [self._bring(batch, item) for item in batch.items]
        for item, pixels in zip(batch.items, coming, strict=True):
            try:
                by_decoder = {decoder: decoding.result() for decoder, decoding in pixels.items()}
                batch.pixels[item.id] = [by_decoder[model.decoder] for model in batch.models]
            except (UmbelError, RuntimeError) as error:  # RuntimeError: what no decoder should raise, as text
                batch.outcomes.take(item, error)
            self.leases.note_progress()

    def _bring(self, batch: EmbeddingBatch, item: ClaimedItem) -> dict[Decoder, Decoding]:
        """To its decoders: models that prepare pictures alike share one, and its pixels.

        The whole is decoded as it is without tiles, so that its vector is the same with them. An upload has the spans
        of its own decoding in its trace; an import, those of batches.
        """
        boxes = list(LAYOUTS[batch.layouts.get(item.collection_id, 0)].values())
        brought: dict[Decoder, Decoding] = {}
        with tracing.within(None if batch.background else item.traceparent):
            for decoder in {model.decoder for model in batch.models}:
                whole: Future[Pixels] = Future()
                if isinstance(item, HandedItem) and item.decoder == decoder:
                    whole.set_result(item.pixels)
                else:
                    whole = decoder.decode(item.blob_key)
                brought[decoder] = Decoding(whole, decoder.decode_parts(item.blob_key, boxes) if boxes else None)
        return brought

    def _forward(self, batch: EmbeddingBatch) -> EmbeddingBatch:
        decoded = [item for item in batch.items if item.id in batch.pixels]
        with job_log.stage("forward", batch.queue, decoded):
            self.bisect(batch, decoded, partial(self._embed, batch))
        batch.pixels.clear()
        if decoded:
            self.leases.note_progress()
            self.forwarded(bool(batch.vectors))
        return batch

    def _embed(self, batch: EmbeddingBatch, some: Sequence[ClaimedItem]) -> None:
        vectors: dict[UUID, Vectors] = {}
        by_embedder: dict[Embedder, Vectors] = {}  # two versions of one checkpoint have the same
        for place, model in enumerate(batch.models):
            if model.embedder not in by_embedder:
                pixels = [each for item in some for each in batch.pixels[item.id][place]]
                by_embedder[model.embedder] = _embedded(model.embedder, pixels, background=batch.background)
            vectors[model.version_id] = by_embedder[model.embedder]
        if not all(np.isfinite(of_model).all() for of_model in vectors.values()):
            raise ArithmeticError("its vector is not finite")
        batch.ready += some
        ends = list(accumulate(len(batch.pixels[item.id][0]) for item in some))
        places = list(zip(some, [0, *ends], ends, strict=False))
        for version_id, of_model in vectors.items():
            batch.vectors.setdefault(version_id, []).append(of_model[[first for _, first, _ in places]])
            of_items = batch.tiles.setdefault(version_id, {})
            of_items.update({item.id: of_model[first + 1 : end] for item, first, end in places})

    def blame(self, batch: EmbeddingBatch, error: Exception) -> str | None:
        """Only a model that still works can blame an image."""
        works = not self.fatal(error) and all(map(self.works, batch.models))
        return f"The model failed on it: {error}" if works else None

    def store(self, batch: EmbeddingBatch) -> None:
        """In one transaction: the items, and their vectors of all versions that are maintained by then."""
        while missed := retry_transient(lambda: self._try_to_store(batch)):
            self._catch_up(batch, *missed)

    def _try_to_store(self, batch: EmbeddingBatch) -> tuple[list[UUID], dict[UUID, int]] | None:
        """Nothing is stored where versions have become maintained since the batch was claimed, or tiles were asked for.

        It returns those by which it is to be embedded again, and the layouts.
        """
        with self.transaction() as session:
            versions.lock_states(session, shared=True)
            layouts = find_layouts(session, {item.collection_id for item in batch.ready})
            if layouts.items() - batch.layouts.items():
                return list(batch.vectors), layouts
            batch.layouts = layouts  # without those that are switched off
            if batch.ready and batch.ready[0].version_id is None:
                missed = [each for each in versions.list_maintained(session) if each not in batch.vectors]
                if missed:
                    return missed, layouts
            self.store_items(session, batch)
        return None

    def store_results(self, session: Session, batch: EmbeddingBatch, done: set[UUID]) -> None:
        """The vectors of these items."""
        rows = [row for row, item in enumerate(batch.ready) if item.id in done]
        if not rows:
            return
        owners = [(batch.ready[row].image_id, batch.ready[row].collection_id) for row in rows]
        made_of = [batch.ready[row].blob_key for row in rows]
        for version_id in versions.list_with_vectors(session).intersection(batch.vectors):
            vectors = np.concatenate(batch.vectors[version_id])[rows]
            embeddings.upsert_embeddings(session, version_id, owners, vectors, made_of=made_of)
            tiles.upsert_tiles(
                session,
                version_id,
                [
                    (item.image_id, item.collection_id, item.blob_key, layout, batch.tiles[version_id][item.id])
                    for item in (batch.ready[row] for row in rows)
                    if (layout := batch.layouts.get(item.collection_id))
                ],
            )

    def _catch_up(self, batch: EmbeddingBatch, missed: list[UUID], layouts: dict[UUID, int]) -> None:
        """Embed what is ready with versions that came late, or with tiles; an image that fails under one fails all."""
        log.info("a batch is embedded again", images=len(batch.ready), versions=[str(each) for each in missed])
        outcomes = Outcomes(batch.queue, self.settings)
        again = EmbeddingBatch(batch.queue, batch.ready, outcomes, versions=missed, layouts=layouts)
        late = self._forward(self._decode(again))
        place = {item.id: row for row, item in enumerate(batch.ready)}
        rows = [place[item.id] for item in late.ready]
        early = {version: [np.concatenate(parts)[rows]] for version, parts in batch.vectors.items()}
        batch.ready, batch.vectors, batch.tiles = late.ready, early | late.vectors, batch.tiles | late.tiles
        batch.layouts = layouts
        batch.outcomes.add(late.outcomes)

    def _answer(self, asked: Asked) -> None:
        if asked.version_id is None:
            raise NotReady(versions.NO_MODEL)
        [model] = self.models.load([asked.version_id])
        pixels: dict[UUID, Pixels] = {}
        rejected: dict[UUID, tuple[str, str]] = {}
        coming = {
            query_id: model.decoder.decode(picture.image, box=picture.box, urgent=True)
            for query_id, picture in asked.images.items()
        }
        for query_id, decoded in coming.items():
            try:
                pixels[query_id] = decoded.result()
            except (ImageError, DecoderDied) as error:
                rejected[query_id] = (error.code, error.detail)
            except TransientError as error:
                if isinstance(asked.images[query_id].image, bytes):
                    raise
                rejected[query_id] = (error.code, error.detail)  # of the blob store: the other queries do not need it
        if rejected:
            query_images.refuse_queries(rejected)
        if pixels:
            vectors = model.embedder.embed(list(pixels.values()))
            query_images.answer_queries(model.version_id, dict(zip(pixels, vectors, strict=True)))


def _embedded(embedder: Embedder, pixels: Sequence[Pixels], *, background: bool) -> Vectors:
    """One vector each; tiles make more of a batch of items than the embedder takes at once."""
    step = embedder.batch_size
    parts = [embedder.embed(pixels[at : at + step], background=background) for at in range(0, len(pixels), step)]
    return np.concatenate(parts)
