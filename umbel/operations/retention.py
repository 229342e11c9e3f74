"""Old jobs go, with their items: the ledger does not grow with all that was ever done."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.database import Transaction

JOBS, ITEMS = 200, 2_000  # removed in one transaction
TURNS = 10  # transactions of one cleanup; the next comes with the next sweep

# Finished jobs, the oldest first. Not those with images that are in the gallery and could not be embedded: their items
# say why, and are what a retry begins from. Nor maps that are shown.
OLD = """
SELECT id FROM job
WHERE id < (SELECT uuidv7(make_interval(days => -:days))) AND finished_at < now() - make_interval(days => :days)
  AND NOT EXISTS (SELECT FROM gallery_map m WHERE m.job_id = job.id AND m.computed_at IS NOT NULL)
  AND NOT EXISTS (
      SELECT FROM job_item i
      WHERE i.job_id = job.id AND i.state IN ('failed', 'cancelled') AND i.image_id IS NOT NULL)
ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
"""
ITEMS_OF = "DELETE FROM job_item WHERE id IN (SELECT id FROM job_item WHERE job_id = ANY (:jobs) LIMIT :limit)"


def delete_old_jobs(transaction: Transaction, days: int) -> bool:
    """Delete jobs that finished more than `days` ago, in batches; 0: none. Returns whether none is left.

    Raises NotReady, TransientError.
    """
    for _ in range(TURNS if days else 0):
        with transaction() as session:
            if not _delete_some(session, days):
                return True
    return not days


def _delete_some(session: Session, days: int) -> bool:
    """Some items of old jobs; the jobs with the last of their items. False if there is none."""
    jobs = session.scalars(text(OLD), {"days": days, "limit": JOBS}).all()
    items = session.execute(text(ITEMS_OF), {"jobs": jobs, "limit": ITEMS}).rowcount if jobs else 0  # type: ignore[attr-defined]
    if items < ITEMS:
        session.execute(text("DELETE FROM job WHERE id = ANY (:jobs)"), {"jobs": jobs})
    return bool(jobs)
