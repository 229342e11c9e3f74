"""The statements of deletions; what they do together: umbel/gallery/deletion.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from umbel.base.tables import Collection, Job
from umbel.base.types import JobStatus, JobType
from umbel.gallery.collections import PRESENT
from umbel.jobs import items, jobs


@dataclass(frozen=True, slots=True)
class Deletion:
    """A job that deletes a collection."""

    job_id: UUID
    collection_id: UUID
    started: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """Items of deletions, locked for this transaction, and the images they are to delete."""

    items: list[UUID]
    images: list[UUID]


def hide_collection(session: Session, name: str) -> UUID | None:
    """Hide the collection from this transaction's end on; its name is free again. None if there is none."""
    # An update that does not wait for transactions that add an image, nor they for it: see `end_deletion`.
    statement = update(Collection).where(Collection.name == name, PRESENT).values(deleted_at=func.now())
    return session.scalar(statement.returning(Collection.id))


def stop_jobs(session: Session, collection_id: UUID) -> None:
    """Nothing more comes into the collection: its sources are listed no further, its unfinished jobs are cancelled.

    Not those of single uploads, of which there may be very many: they take nothing more, and the deletion cancels their
    items, as it does those of all the others.
    """
    values = {"collection": collection_id}
    session.execute(
        text("""
            WITH open AS MATERIALIZED (
                SELECT s.job_id FROM import_source s JOIN job ON job.id = s.job_id
                WHERE NOT s.done AND job.collection_id = :collection ORDER BY s.job_id FOR UPDATE OF s
            )
            UPDATE import_source s SET done = true FROM open WHERE s.job_id = open.job_id
        """),
        values,
    )
    session.execute(
        text("""
            WITH unfinished AS MATERIALIZED (
                SELECT id FROM job WHERE collection_id = :collection AND finished_at IS NULL
                AND NOT (type = 'upload' AND closed AND NOT paused) ORDER BY id FOR NO KEY UPDATE
            )
            UPDATE job SET closed = true, cancelling = true, paused = false FROM unfinished
            WHERE job.id = unfinished.id
        """),
        values,
    )


def insert_deletion(session: Session, collection_id: UUID) -> UUID:
    """The job that is to delete a hidden collection. It stays open until nothing is left."""
    return jobs.insert_job(session, JobType.DELETION, closed=False, collection_id=collection_id, model_version_id=None)


def find_deletion(session: Session, name: str) -> tuple[UUID, JobStatus] | None:
    """The newest unfinished deletion of a collection that was called `name`."""
    row = session.execute(
        select(Job.id, Job.status)
        .join(Collection, Collection.id == Job.collection_id)
        .where(Collection.name == name, ~PRESENT, Job.type == JobType.DELETION)
        .order_by(Job.id.desc())
        .limit(1)
    ).first()
    return row and (row[0], JobStatus(row[1]))


def claim_deletion(session: Session) -> Deletion | None:
    """The oldest deletion that is still being listed or has nothing pending, locked until this transaction ends.

    It has started once all is listed, so that its job tells how far it is.
    """
    row = session.execute(
        select(Job.id, Collection.id, Job.started_at.is_not(None))
        .join(Collection, Collection.id == Job.collection_id)
        .where(Job.type == JobType.DELETION, ~Job.closed, ~Job.paused)
        .where((Job.pending == 0) | Job.started_at.is_(None))
        .order_by(Job.id)
        .limit(1)
        .with_for_update(of=Job, skip_locked=True, key_share=True)
    ).first()
    return row and Deletion(*row)


def is_deleted(session: Session, collection_id: UUID | None) -> bool:
    """Whether the collection is hidden, and about to go."""
    return bool(session.scalar(select(Collection.id).where(Collection.id == collection_id, ~PRESENT)))


FIRST = UUID(int=0)
OTHERS = "job.collection_id = :collection AND job.type <> 'deletion'"


def cancel_items(session: Session, deletion: Deletion, limit: int) -> int:
    """Cancel up to `limit` pending items of the collection's jobs. Returns how many."""
    pending = _some_items(session, deletion, "i.state = 'pending'", limit)
    session.execute(
        text("""
            UPDATE job_item SET state = 'cancelled', finished_at = now(), lease_owner = NULL, lease_until = NULL
            WHERE id = ANY (:ids) AND state = 'pending'
        """),
        {"ids": pending},
    )
    return len(pending)


def insert_items(session: Session, deletion: Deletion, limit: int) -> int:
    """An item for each of up to `limit` images of the collection that have none yet. Returns how many."""
    # From where the last batch ended: until the deletion starts no image goes, so the newest item has one.
    newest = text("SELECT image_id FROM job_item WHERE job_id = :job AND state = 'pending' ORDER BY id DESC LIMIT 1")
    last = None if deletion.started else session.scalar(newest, {"job": deletion.job_id})
    statement = text("""
        INSERT INTO job_item (job_id, image_id, queue, state)
        SELECT :job, image.id, 'delete', 'pending' FROM image
        WHERE collection_id = :collection AND image.id > :after AND NOT EXISTS (
            SELECT FROM job_item i WHERE i.image_id = image.id AND i.queue = 'delete' AND i.state = 'pending')
        ORDER BY image.id LIMIT :limit FOR KEY SHARE OF image
    """)
    values = {"job": deletion.job_id, "collection": deletion.collection_id, "after": last or FIRST, "limit": limit}
    return session.execute(statement, values).rowcount  # type: ignore[attr-defined]


def start(session: Session, deletion: Deletion) -> bool:
    """All is listed: images may go. False if it has started already."""
    if not deletion.started:
        jobs.change_job(session, deletion.job_id, started_at=func.now())
    return not deletion.started


def take_items(session: Session, limit: int) -> Taken:
    """Up to `limit` images that are to be deleted now, with their items, the oldest first."""
    # The lock is the lease: a worker that dies gives back what it had, and no image is ever to blame for a death.
    rows = session.execute(
        text("""
            SELECT id, image_id FROM job_item WHERE state = 'pending' AND NOT paused AND queue = 'delete'
            AND job_id <> ALL (ARRAY(
                SELECT id FROM job WHERE type = 'deletion' AND NOT closed AND (paused OR started_at IS NULL)))
            ORDER BY attempts, retries, id LIMIT :limit FOR UPDATE SKIP LOCKED
        """),
        {"limit": limit},
    ).all()
    return Taken([row.id for row in rows], [row.image_id for row in rows if row.image_id])


def delete_images(session: Session, taken: Taken) -> list[str]:
    """Remove images with all that is known of them. Returns the keys of their blobs, which are to go next.

    The keys are kept with the items until those are finished, also those of images whose deletion was begun before.
    """
    others = session.scalars(
        text("SELECT id FROM job_item WHERE image_id = ANY (:images) AND queue <> 'delete'"), {"images": taken.images}
    ).all()
    items.lock_items(session, [*taken.items, *others])
    session.execute(text("DELETE FROM job_item WHERE id = ANY (:ids)"), {"ids": others})
    keys = session.scalars(
        text("""
            UPDATE job_item SET locator = coalesce(image.blob_key, job_item.locator), image_id = NULL
            FROM job_item own LEFT JOIN image ON image.id = own.image_id
            WHERE own.id = ANY (:ids) AND job_item.id = own.id RETURNING job_item.locator
        """),
        {"ids": taken.items},
    ).all()
    session.execute(text("DELETE FROM image WHERE id = ANY (:images)"), {"images": taken.images})
    return [key for key in keys if key is not None]


def finish_items(session: Session, finished: Sequence[UUID]) -> None:
    """The images of these items are gone, and their blobs too. Nothing tells any more what they were."""
    items.lock_items(session, finished)
    session.execute(
        text("""
            UPDATE job_item SET state = 'indexed', locator = NULL, finished_at = now()
            WHERE id = ANY (:ids) AND state = 'pending'
        """),
        {"ids": list(finished)},
    )


def delete_items(session: Session, deletion: Deletion, limit: int) -> int:
    """Remove up to `limit` items of the collection's jobs: names, labels, errors. Returns how many."""
    some = _some_items(session, deletion, "TRUE", limit)
    session.execute(text("DELETE FROM job_item WHERE id = ANY (:ids)"), {"ids": some})
    return len(some)


def delete_jobs(session: Session, deletion: Deletion, limit: int) -> tuple[int, list[str]]:
    """Remove up to `limit` jobs of the collection, which have no items any more.

    Returns how many, and the keys of the archives and lists that were uploaded for them, which are to go next.
    """
    jobs = session.scalars(
        text(f"SELECT id FROM job WHERE {OTHERS} ORDER BY id LIMIT :limit FOR UPDATE"),
        {"collection": deletion.collection_id, "limit": limit},
    ).all()
    keys = session.scalars(
        text("SELECT spec ->> 'blob_key' FROM import_source WHERE job_id = ANY (:ids) AND spec ? 'blob_key'"),
        {"ids": jobs},
    ).all()
    session.execute(text("DELETE FROM job WHERE id = ANY (:ids)"), {"ids": jobs})
    return len(jobs), list(keys)


def end_deletion(session: Session, deletion: Deletion) -> bool:
    """Remove the collection's row and finish the job. False if something has come in that is to go before.

    Transactions that found the collection before it was hidden, and still add to it, hold its row. This waits for them
    here, where no new one can begin, and not when it was hidden, where they might have followed one another for ever.
    """
    values = {"collection": deletion.collection_id}
    session.execute(text("SELECT FROM collection WHERE id = :collection FOR UPDATE"), values)
    left = f"""
        SELECT EXISTS (SELECT FROM image WHERE collection_id = :collection)
            OR EXISTS (SELECT FROM trashed_image WHERE collection_id = :collection)
            OR EXISTS (SELECT FROM job WHERE {OTHERS})
    """
    if session.scalar(text(left), values):
        return False
    ended = update(Job).where(Job.id == deletion.job_id)
    session.execute(ended.values(collection_id=None, closed=True, started_at=func.coalesce(Job.started_at, func.now())))
    session.execute(text("DELETE FROM collection WHERE id = :collection"), values)
    return True


def _some_items(session: Session, deletion: Deletion, condition: str, limit: int) -> list[UUID]:
    """Up to `limit` items of the collection's other jobs, locked with their jobs."""
    statement = text(f"""
        SELECT i.id FROM job JOIN job_item i ON i.job_id = job.id WHERE {OTHERS} AND {condition} LIMIT :limit
    """)
    found = session.scalars(statement, {"collection": deletion.collection_id, "limit": limit}).all()
    items.lock_items(session, found)
    return list(found)
