"""Deletions: a collection is hidden at once, and a job removes what is left of it, piece by piece.

What is to be done next is always read from what is still there, so a worker that goes on needs to know nothing else.
"""

from dataclasses import dataclass
from uuid import UUID

import structlog

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.errors import NotFound
from umbel.base.types import JobStatus, Queue
from umbel.gallery import blob_cleanups, trash
from umbel.gallery import deletion_queries as queries
from umbel.gallery.blob_cleanups import clean_up_blobs
from umbel.jobs.runner import StepHandler
from umbel.jobs.wakeup import Waker

log = structlog.get_logger()

BATCH = 200  # images removed at once: some hundredths of a second
LEDGER_BATCH = 2_000  # items, or jobs, changed or removed at once


@dataclass(frozen=True, slots=True)
class Begun:
    """A deletion that goes on."""

    job_id: UUID
    status: JobStatus


def begin_deletion(transaction: Transaction, waker: Waker, name: str) -> Begun:
    """Hide a collection, and have it removed with all that it has.

    Asked for again meanwhile, it is the same job; unless a new collection has taken the name, which is then deleted.
    Raises NotFound.
    """
    with transaction() as session:
        collection_id = queries.hide_collection(session, name)
        if collection_id is None:
            found = queries.find_deletion(session, name)
            if found is None:
                raise NotFound(f"There is no collection called {name!r}.")
            return Begun(*found)
        queries.stop_jobs(session, collection_id)
        job_id = queries.insert_deletion(session, collection_id)
    waker.wake(Queue.DELETE)
    return Begun(job_id, JobStatus.QUEUED)


@dataclass(kw_only=True, eq=False)
class DeletionHandler(StepHandler):
    """Removes what deleted collections leave; any number of handlers share the work.

    A batch a transaction, so that no request waits, and a kill costs one batch: rows go in one transaction with
    cleanups of their bytes, and an item is pending until those are gone too.
    """

    blobs: Blobs

    queues = (Queue.DELETE,)

    def step(self) -> bool:
        """Delete some images; what comes next in a deletion where none is left."""
        return self._delete_images() or self._go_on()

    def _delete_images(self) -> bool:
        """Delete some images. False if none is to be deleted, or others are at it."""
        with self.transaction() as session:
            taken = queries.take_items(session, BATCH)
            if not taken.items:
                return False
            cleanups = blob_cleanups.insert_cleanups(session, queries.delete_images(session, taken))
        with self.transaction() as session:
            clean_up_blobs(session, self.blobs, blob_cleanups.claim_cleanups(session, cleanups))
            queries.finish_items(session, taken.items)
        return True

    def _go_on(self) -> bool:
        """Do what comes next in a deletion that is being listed or has no image pending. False if there is none."""
        with self.transaction() as session:
            deletion = queries.claim_deletion(session)
            if deletion is None:
                return False
            if queries.cancel_items(session, deletion, LEDGER_BATCH):
                return True
            if queries.insert_items(session, deletion, LEDGER_BATCH) or queries.start(session, deletion):
                return True
            if queries.delete_items(session, deletion, LEDGER_BATCH):
                return True
            if trash.purge_collection(session, deletion.collection_id, BATCH):
                return True
            removed, archives = queries.delete_jobs(session, deletion, LEDGER_BATCH)
            self.blobs.delete_all(archives)  # before their jobs: no import reads them, and none is left behind
            if not removed and queries.end_deletion(session, deletion):
                log.info("collection deleted", job_id=str(deletion.job_id))
        return True
