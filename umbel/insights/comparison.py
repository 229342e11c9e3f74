"""Comparisons: whom each picture of a collection is near, whether they look alike, what they say of its label.

Nothing is compared with everything: the nearest by embedding are found through the index, and only their pixels are
looked at.
"""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from uuid import UUID

import numpy as np
import structlog
from sqlalchemy.orm import Session

from umbel.base.database import Transaction
from umbel.base.errors import BlobMissing, Conflict, DecoderDied, ImageError, NotEmbedded, TransientError
from umbel.base.locks import take_turns
from umbel.base.pipeline import map_ahead
from umbel.base.types import Decoder, ImageSignature, PixelSimilarities, Queue
from umbel.gallery import collections
from umbel.insights import duplicate_groups, nearest_neighbors, signatures
from umbel.insights.duplicate_groups import COPY_DISTANCE
from umbel.insights.label_errors import label_error_probability
from umbel.insights.nearest_neighbors import ComparedImage, Near
from umbel.jobs import jobs
from umbel.jobs.claims import ClaimedItem
from umbel.jobs.runner import Batch, ItemHandler
from umbel.jobs.wakeup import Waker
from umbel.models import collection_calibrations, versions
from umbel.models.calibration import Calibration

log = structlog.get_logger()

BATCH = 100
AT_ONCE = 2  # batches: while Postgres finds the neighbors of one, the pixels of the other are compared
NEIGHBORS = 16  # kept of each picture: enough for the vote of 11 although some have no label
COPY_CANDIDATES = 8  # nearest neighbors whose pixels are compared
SIGNATURE_SECONDS = 30.0  # for the pictures of a batch, below its lease; what takes longer is left unseen
UNBEARABLE = 20_000  # images of a collection that are not compared one by one: they wait for their index
WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Begun:
    """A comparison that was begun. pictures: how many are to be compared."""

    job_id: UUID
    images: int


def begin_comparison(
    transaction: Transaction,
    waker: Waker,
    *,
    collection: str | None,
    again: bool = False,
    version_id: UUID | None = None,
) -> Begun | None:
    """Have the images of a collection (None: of each) compared that were not yet, or all of them. None: all were.

    version_id: by whose vectors; None: the active version's.
    Raises NotFound for the collection or version, NotReady without a model, Conflict while such a job is unfinished.
    """
    with transaction() as session:
        version = versions.get_version_to_use(session, version_id)
        collection_id = collections.id_of(session, collection)
        take_turns(session, "umbel comparison")
        unfinished = nearest_neighbors.find_unfinished_comparison(session, collection_id)
        if unfinished is not None:
            raise Conflict(f"Job {unfinished} compares these pictures already; wait for its end, or cancel it.")
        found = nearest_neighbors.insert_comparison(session, version.id, collection_id or None, again=again)
    if found is None:
        return None
    waker.wake(Queue.COMPARE)
    return Begun(*found)


@dataclass(slots=True)
class ComparisonBatch(Batch):
    """Claimed items and what comes of them. rows: by item; seen, blob_keys: by image, of those that were looked at."""

    items: Sequence[ClaimedItem]
    rows: dict[UUID, ComparedImage] = field(default_factory=dict)
    seen: dict[UUID, ImageSignature | None] = field(default_factory=dict)
    blob_keys: dict[UUID, str] = field(default_factory=dict)


@dataclass(kw_only=True, eq=False)
class ComparisonHandler(ItemHandler[ComparisonBatch]):
    """Compares what is queued; one a process."""

    decoder: Decoder
    pixel_similarities: PixelSimilarities

    queues = (Queue.COMPARE,)
    batch_type = ComparisonBatch
    ended_as = "compared"

    def run(self, queues: Sequence[Queue] | None = None) -> int:
        """Compare, then group what is near, where all is compared."""
        finished = super().run(queues)
        duplicate_groups.compute_groups(self.transaction)
        return finished

    def limit(self, batches: int) -> int:
        """Always the same."""
        return BATCH

    def prepare(self) -> bool:
        """List some more of what is to be compared."""
        with self.transaction() as session:
            return nearest_neighbors.list_images(session)

    def work(self, batches: Iterator[ComparisonBatch]) -> Generator[ComparisonBatch, None, None]:
        """Compare; while Postgres finds the neighbors of one batch, the pixels of another are compared."""
        with closing(map_ahead(self._compare, batches, at_once=AT_ONCE)) as compared:
            yield from compared

    def _compare(self, batch: ComparisonBatch) -> ComparisonBatch:
        for (job_id, collection_id), some in groupby(sorted(batch.items, key=_owners), _owners):
            self.bisect(batch, list(some), partial(self._compare_all, batch, job_id, collection_id))
        return batch

    def _compare_all(
        self, batch: ComparisonBatch, job_id: UUID, collection_id: UUID, some: Sequence[ClaimedItem]
    ) -> None:
        with self.transaction() as session:
            job = jobs.get_job(session, job_id)
            version = versions.get_version(session, job.model_version_id)  # type: ignore[arg-type]
            if nearest_neighbors.awaits_index(session, version.id, collection_id, UNBEARABLE):
                batch.postponed = True
                batch.outcomes.release([item.id for item in some], delay_seconds=WAIT_SECONDS)
                return
            calibration = collection_calibrations.calibration_for(session, collection_id, version)
            images = [item.image_id for item in some]
            found = {
                near.image_id: near
                for near in nearest_neighbors.list_nearest(session, version, collection_id, images, k=NEIGHBORS)
            }
        pairs = [(near.image_id, other) for near in found.values() for other in _candidates(near)]
        similarities = self._pixel_similarities(batch, pairs)
        for item in some:
            if item.image_id in found:
                batch.rows[item.id] = _row(collection_id, found[item.image_id], similarities, calibration)
                batch.ready.append(item)
            else:
                batch.outcomes.fail(item.id, NotEmbedded("The image has lost its embedding since it was queued."))

    def _pixel_similarities(
        self, batch: ComparisonBatch, pairs: Sequence[tuple[UUID, UUID]]
    ) -> dict[tuple[UUID, UUID], float]:
        """How well the pixels of each pair agree, in [0, 1]; without the pairs of which one cannot be looked at."""
        with self.transaction() as session:
            known = signatures.list_signatures(session, list({image for pair in pairs for image in pair}))
        batch.blob_keys |= known.unseen
        batch.seen |= (new := self._sign(known.unseen))
        every = known.signatures | new
        seen = {
            image: signature.pixels
            for image in dict.fromkeys(one for one, _ in pairs)
            if (signature := every.pop(image, None))
        }
        seen |= {
            image: signature.pixels for image, signature in every.items() if signature
        }  # those whose windows are tried come first
        pairs = [pair for pair in pairs if pair[0] in seen and pair[1] in seen]
        if not pairs:
            return {}
        place = {image: index for index, image in enumerate(seen)}
        numbered = np.array([[place[one], place[other]] for one, other in pairs], np.intp)
        similarities = self.pixel_similarities(np.stack(list(seen.values())), numbered)
        return dict(zip(pairs, similarities.clip(0, 1).tolist(), strict=True))

    def _sign(self, unseen: Mapping[UUID, str]) -> dict[UUID, ImageSignature | None]:
        """Look at pictures; None where nothing can be seen, now or later. Those that may be seen later are left out."""
        coming: dict[UUID, Future[ImageSignature]] = {
            image: self.decoder.signature(key) for image, key in unseen.items()
        }
        deadline = time.monotonic() + SIGNATURE_SECONDS
        seen: dict[UUID, ImageSignature | None] = {}
        for image, future in coming.items():
            wait([future], max(0.0, deadline - time.monotonic()))
            self.leases.note_progress()
            if future.cancel() or not future.done():
                log.warning("not looked at in time", image=str(image))
                continue
            try:
                seen[image] = future.result()
            except (TransientError, BlobMissing) as error:
                log.warning("not looked at", image=str(image), error=error.detail)
            except (ImageError, DecoderDied, RuntimeError) as error:
                log.warning("cannot be looked at", image=str(image), error=str(error))
                seen[image] = None
        return seen

    def store_results(self, session: Session, batch: ComparisonBatch, done: set[UUID]) -> None:
        """The neighbors of these items, and the signatures of all images that were looked at."""
        rows: dict[UUID, list[ComparedImage]] = {}
        for item in batch.ready:
            if item.id in done:
                rows.setdefault(item.job_id, []).append(batch.rows[item.id])
        for job_id, some in rows.items():
            version_id = jobs.get_job(session, job_id).model_version_id
            nearest_neighbors.upsert_nearest_neighbors(session, version_id, some)  # type: ignore[arg-type]
            duplicate_groups.note_changes(session, version_id, [row.collection_id for row in some])  # type: ignore[arg-type]
        signatures.insert_signatures(session, batch.seen, batch.blob_keys)


def _owners(item: ClaimedItem) -> tuple[UUID, UUID]:
    """Items that are compared together: of one job, so of one model version, and of one collection."""
    return item.job_id, item.collection_id


def _candidates(near: Near) -> list[UUID]:
    """The neighbors that may be copies."""
    pairs = zip(near.neighbors[:COPY_CANDIDATES], near.distances[:COPY_CANDIDATES], strict=True)
    return [other for other, distance in pairs if distance <= COPY_DISTANCE]


def _row(
    collection_id: UUID, near: Near, similarities: Mapping[tuple[UUID, UUID], float], calibration: Calibration | None
) -> ComparedImage:
    probable = near.label and label_error_probability(near.label, near.distances, near.labels, calibration)
    return ComparedImage(
        image_id=near.image_id,
        collection_id=collection_id,
        neighbors=near.neighbors,
        distances=near.distances,
        pixel_similarities=[similarities.get((near.image_id, other), 0.0) for other in near.neighbors],
        voted_label=near.label if probable else None,
        suggested_label=probable.suggested if probable else None,
        label_error_probability=probable.label_error_probability if probable else None,
    )
