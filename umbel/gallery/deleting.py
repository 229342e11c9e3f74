"""Removing what deleted collections leave: a batch a transaction, so that nobody waits, and a kill costs one batch."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.progress import progress
from umbel.gallery import blob_cleanups, deletions
from umbel.gallery.blob_cleanups import clean_up_blobs
from umbel.jobs.outcomes import retry_transient

log = structlog.get_logger()

BATCH = 200  # images removed at once: some hundredths of a second
LEDGER_BATCH = 2_000  # items, or jobs, changed or removed at once


@dataclass(frozen=True, slots=True)
class DeletionLine:
    """Deletes collections; any number of lines share the work."""

    transaction: Transaction
    blobs: Blobs
    stopping: Callable[[], bool] = lambda: False

    def run(self) -> None:
        """Delete until nothing is left to delete.

        Killed at any point, nothing is lost: rows go in one transaction with cleanups of their bytes, and an item is
        pending until those are gone too.
        """
        while not self.stopping() and (retry_transient(self._delete_images) or retry_transient(self._go_on)):
            pass

    def _delete_images(self) -> bool:
        """Delete some images. False if none is to be deleted, or others are at it."""
        with self.transaction() as session:
            taken = deletions.take_items(session, BATCH)
            if not taken.items:
                return False
            cleanups = blob_cleanups.insert_cleanups(session, deletions.delete_images(session, taken))
        with self.transaction() as session:
            clean_up_blobs(session, self.blobs, blob_cleanups.claim_cleanups(session, cleanups))
            deletions.finish_items(session, taken.items)
        progress.note()
        return True

    def _go_on(self) -> bool:
        """Do what comes next in a deletion that has no image pending. False if there is none."""
        with self.transaction() as session:
            deletion = deletions.claim_deletion(session)
            if deletion is None:
                return False
            if deletions.cancel_items(session, deletion, LEDGER_BATCH) or deletions.insert_items(session, deletion):
                return True
            if deletions.delete_items(session, deletion, LEDGER_BATCH):
                return True
            removed, archives = deletions.delete_jobs(session, deletion, LEDGER_BATCH)
            self.blobs.delete_all(archives)  # before their jobs: nobody reads them, and none is left behind
            if not removed and deletions.end_deletion(session, deletion):
                log.info("collection deleted", job_id=str(deletion.job_id))
        return True
