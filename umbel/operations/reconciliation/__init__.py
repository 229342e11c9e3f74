"""Reconciliation: ledger, blobs, embeddings and index compared; mismatches are reported, and repaired on request.

It may run beside uploads and workers: what changes together is read in one snapshot, and what needs two reads (a blob
listing and a table) is confirmed by a third, so that work in flight is no mismatch. context.py has what each check gets
and reports; ledger.py, tallies.py, metadata.py, blobs.py, calibrations.py and
embeddings.py hold the checks with their queries.
"""

from umbel.operations import maintenance
from umbel.operations.reconciliation.blobs import check_blobs, check_hashes, check_models
from umbel.operations.reconciliation.calibrations import check_calibrations
from umbel.operations.reconciliation.context import Context, Mismatches
from umbel.operations.reconciliation.embeddings import check_embeddings, check_index
from umbel.operations.reconciliation.ledger import check_cleanups, check_counts, check_items, check_jobs
from umbel.operations.reconciliation.metadata import check_metadata
from umbel.operations.reconciliation.tallies import check_tallies


def reconcile(context: Context) -> list[Mismatches]:
    """Every check in turn, with what it found and repaired. Raises NotReady, TransientError."""
    checks = [check_counts, check_jobs, check_items, check_tallies, check_cleanups, check_metadata, check_blobs]
    checks += [
        check_models,
        check_calibrations,
        check_embeddings,
        check_index,
        *([check_hashes] if context.deep else []),
    ]
    found = [mismatches for check in checks for mismatches in check(context)]
    if context.repair:
        _wake(context)
    return found


def _wake(context: Context) -> None:
    """For all that waits now."""
    with context.transaction() as session:
        queues = maintenance.list_waiting_queues(session)
    for queue in queues:
        context.waker.wake(queue)
