"""Comparing what the ledger has queued: whom each picture is near, whether they look alike, what they say of its label.

Nothing is compared with everything: the nearest by embedding are found through the index, and only their pixels are
looked at.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from uuid import UUID

import numpy as np
import structlog

from umbel.base.database import Transaction
from umbel.base.errors import BlobMissing, DecoderDied, ImageError, NotEmbedded, NotReady, TransientError
from umbel.base.settings import Settings
from umbel.base.types import Decoder, ImageSignature, ItemState, PixelSimilarities, Queue
from umbel.insights import nearest_neighbors, signatures
from umbel.insights.label_errors import label_error_probability
from umbel.insights.nearest_neighbors import ComparedImage, Near
from umbel.jobs import claims, items, job_log, jobs
from umbel.jobs.claims import ClaimedItem, Leases
from umbel.jobs.outcomes import Outcomes, retry_transient
from umbel.models import versions
from umbel.models.calibration import Calibration, calibration_of

log = structlog.get_logger()

BATCH = 100
AT_ONCE = 2  # batches: while Postgres finds the neighbors of one, the pixels of the other are compared
NEIGHBORS = 16  # kept of each picture: enough for the vote of 11 although some have no label
COPY_CANDIDATES = 8  # nearest neighbors whose pixels are compared
COPY_DISTANCE = 0.5  # cosine distance beyond which no changed copy is expected; see docs/how-to/duplicates.md
SIGNATURE_SECONDS = 30.0  # for the pictures of a batch, below its lease; what takes longer is left unseen
UNBEARABLE = 20_000  # images of a collection that are not compared one by one: they wait for their index
WAIT_SECONDS = 10.0


@dataclass(slots=True)
class Batch:
    """Claimed items and what comes of them."""

    outcomes: Outcomes
    done: list[ClaimedItem] = field(default_factory=list)
    rows: dict[UUID, ComparedImage] = field(default_factory=dict)  # by item
    seen: dict[UUID, ImageSignature | None] = field(default_factory=dict)  # by image
    waits: bool = False  # for an index that is not built yet


@dataclass(frozen=True, slots=True)
class ComparisonLine:
    """Everything that comparing needs, put together once a process."""

    transaction: Transaction
    decoder: Decoder
    pixel_similarities: PixelSimilarities
    leases: Leases
    settings: Settings
    stopping: Callable[[], bool] = lambda: False

    def run(self) -> int:
        """Compare what is queued until nothing is left. Returns how many items ended.

        Killed at any point, nothing is lost: what was claimed and not stored is claimed again after its lease.
        """
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="compare") as pool:
            finished = sum(pool.map(lambda _: self._compare_while(self._claim_fresh), range(AT_ONCE)))
        # One after the other, so that a death among them has no neighbors.
        return finished + self._compare_while(self._claim_again)

    def _compare_while(self, claim: Callable[[], list[ClaimedItem]]) -> int:
        finished, waits = 0, False
        while not (waits or self.stopping()) and (claimed := claim()):
            with self.leases.held(item.id for item in claimed):
                batch = self._compared(claimed)
                finished += retry_transient(partial(self._store, batch))
            job_log.ended("compared", Queue.COMPARE, claimed, [item.id for item in batch.done], batch.outcomes.failed)
            waits = batch.waits  # what comes next waits too; the sweep rings again
        return finished

    def _claim_fresh(self) -> list[ClaimedItem]:
        owner, seconds = self.leases.owner, self.leases.seconds
        with self.transaction() as session:
            claimed = claims.claim_items(session, Queue.COMPARE, owner=owner, limit=BATCH, lease_seconds=seconds)
        job_log.claimed(Queue.COMPARE, claimed)
        return claimed

    def _claim_again(self) -> list[ClaimedItem]:
        with self.transaction() as session:
            return claims.claim_again(
                session,
                Queue.COMPARE,
                owner=self.leases.owner,
                limit=BATCH,
                lease_seconds=self.leases.seconds,
                max_attempts=self.settings.max_attempts,
            )

    def _compared(self, claimed: list[ClaimedItem]) -> Batch:
        batch = Batch(Outcomes(Queue.COMPARE, self.settings.max_attempts))
        for (job_id, collection_id), some in groupby(sorted(claimed, key=_owners), _owners):
            self._compare(batch, job_id, collection_id, list(some))
        return batch

    def _compare(self, batch: Batch, job_id: UUID, collection_id: UUID, some: list[ClaimedItem]) -> None:
        """Compare all at once; should that fail, each half by itself, down to the one picture that is to blame."""
        try:
            self._compare_all(batch, job_id, collection_id, some)
        except (NotReady, TransientError):
            raise
        except Exception as error:
            log.warning("a comparison failed", images=len(some), error=str(error))
            if len(some) == 1:
                batch.outcomes.count_attempt(some[0], str(error))
                return
            half = len(some) // 2
            self._compare(batch, job_id, collection_id, some[:half])
            self._compare(batch, job_id, collection_id, some[half:])

    def _compare_all(self, batch: Batch, job_id: UUID, collection_id: UUID, some: list[ClaimedItem]) -> None:
        with self.transaction() as session:
            job = jobs.get_job(session, job_id)
            version = versions.get_version(session, job.model_version_id)  # type: ignore[arg-type]
            if nearest_neighbors.awaits_index(session, version.id, collection_id, UNBEARABLE):
                batch.waits = True
                batch.outcomes.release([item.id for item in some], delay_seconds=WAIT_SECONDS)
                return
            images = [item.image_id for item in some]
            found = {
                near.image_id: near
                for near in nearest_neighbors.list_nearest(session, version, collection_id, images, k=NEIGHBORS)
            }
        pairs = [(near.image_id, other) for near in found.values() for other in _candidates(near)]
        similarities = self._pixel_similarities(batch, pairs)
        calibration = calibration_of(version)
        for item in some:
            if item.image_id in found:
                batch.rows[item.id] = _row(collection_id, found[item.image_id], similarities, calibration)
                batch.done.append(item)
            else:
                batch.outcomes.fail(item.id, NotEmbedded("The image has lost its embedding since it was queued."))

    def _pixel_similarities(self, batch: Batch, pairs: Sequence[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], float]:
        """How well the pixels of each pair agree, in [0, 1]; without the pairs of which one cannot be looked at."""
        with self.transaction() as session:
            known = signatures.list_signatures(session, list({image for pair in pairs for image in pair}))
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

    def _store(self, batch: Batch) -> int:
        with self.transaction() as session:
            ready = [item.id for item in batch.done]
            items.lock_items(session, [*ready, *batch.outcomes])
            # Items first: one that was cancelled, or whose image is gone, brings no row with it.
            done = items.finish_items(session, ready, ItemState.INDEXED)
            rows: dict[UUID, list[ComparedImage]] = {}
            for item in batch.done:
                if item.id in done:
                    rows.setdefault(item.job_id, []).append(batch.rows[item.id])
            for job_id, some in rows.items():
                version_id = jobs.get_job(session, job_id).model_version_id
                nearest_neighbors.upsert_nearest_neighbors(session, version_id, some)  # type: ignore[arg-type]
            signatures.insert_signatures(session, batch.seen)
            batch.outcomes.store(session, self.leases.owner)
        return len(done) + len(batch.outcomes.failed)


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
