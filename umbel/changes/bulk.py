"""Jobs that change many images: begun by a request, listed and worked on in batches, each a transaction.

What is left to do is read from the rows, so a kill costs one batch, and a cancelled job keeps what was done.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.settings import Settings
from umbel.base.types import JobType, Queue
from umbel.changes import bulk_rows
from umbel.changes.applying import apply
from umbel.changes.bulk_rows import Chosen
from umbel.gallery import blob_cleanups, collections
from umbel.gallery.blob_cleanups import clean_up_blobs
from umbel.jobs.idempotency import FirstAnswer, KeyedRequest, find_first_answer, insert_answers
from umbel.jobs.runner import StepHandler
from umbel.models import versions

BATCH = 200  # images at once: some hundredths of a second


def begin_bulk(
    session: Session,
    job_type: JobType,
    chosen: Chosen,
    *,
    collection: str | None,
    changes: Mapping[str, Any] | None = None,
    request: KeyedRequest | None = None,
) -> UUID:
    """Have images of a collection (None: of any) changed, removed, restored or purged; the job.

    Raises NotFound for the collection, IdempotencyKeyReused.
    """
    if first := find_first_answer(session, request):
        return first.job_id
    collection_id = collections.id_of(session, collection)
    job_id = bulk_rows.insert_bulk(session, job_type, chosen, collection_id=collection_id, changes=changes or {})
    if request:
        insert_answers(session, {request: FirstAnswer(job_id)})
    return job_id


@dataclass(kw_only=True, eq=False)
class BulkHandler(StepHandler):
    """Works on such jobs; any number of handlers share the work."""

    blobs: Blobs
    settings: Settings
    wake: Callable[[Queue], object]

    queues = (Queue.CHANGE,)

    def step(self) -> bool:
        """List some images of a job, or do to some what their job is for."""
        with self.transaction() as session:
            listed = bulk_rows.list_some(session)
        return self._apply_some() or listed

    def _apply_some(self) -> bool:
        with self.transaction() as session:
            versions.lock_states(session, shared=True)
            taken = bulk_rows.take_items(session, BATCH)
            if taken is None:
                return False
            outcome = apply(session, taken, keep=self.settings.trash_days > 0)
        if outcome.cleanups:
            with self.transaction() as session:
                clean_up_blobs(session, self.blobs, blob_cleanups.claim_cleanups(session, outcome.cleanups))
        if outcome.embed:
            self.wake(Queue.REINDEX if taken.job_type == JobType.TILING else Queue.BULK)
        return True
