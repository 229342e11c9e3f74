"""What reconciliation asks of the ledger and the embeddings, and how it sets them right.

Each question is one statement, so one snapshot: what changes together is seen together, however much goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Row, exists, func, insert, select, text
from sqlalchemy.orm import Session

from umbel.base.tables import Image, Job, ModelVersion
from umbel.base.types import JobType
from umbel.gallery.blob_cleanups import Note
from umbel.models.partitions import find_index_progress

FIRST = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a table, by their ids: after < id <= last. rows: how many they are."""

    after: UUID
    last: UUID
    rows: int

    @property
    def bounds(self) -> dict[str, Any]:
        return {"after": self.after, "last": self.last}


def count_rows(session: Session, table: Literal["image", "job"]) -> int:
    return session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()


def find_page(session: Session, table: Literal["image", "job"], *, after: UUID, size: int) -> Page | None:
    """The next `size` rows after an id; None at the end."""
    row = session.execute(
        text(f"""
            SELECT id, count(*) OVER () FROM (SELECT id FROM {table} WHERE id > :after ORDER BY id LIMIT :size) page
            ORDER BY id DESC LIMIT 1
        """),
        {"after": after, "size": size},
    ).first()
    return Page(after, *row) if row else None


MISCOUNTED = """
SELECT job.id, coalesce(r.total, 0) AS total, coalesce(r.pending, 0) AS pending, coalesce(r.indexed, 0) AS indexed,
       coalesce(r.duplicate, 0) AS duplicate, coalesce(r.failed, 0) AS failed, coalesce(r.cancelled, 0) AS cancelled
FROM job LEFT JOIN (
    SELECT job_id, count(*) AS total, count(*) FILTER (WHERE state = 'pending') AS pending,
           count(*) FILTER (WHERE state = 'indexed') AS indexed,
           count(*) FILTER (WHERE state = 'duplicate') AS duplicate,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           count(*) FILTER (WHERE state = 'cancelled') AS cancelled
    FROM job_item WHERE job_id > :after AND job_id <= :last GROUP BY job_id
) r ON r.job_id = job.id
WHERE job.id > :after AND job.id <= :last
  AND (job.total, job.pending, job.indexed, job.duplicate, job.failed, job.cancelled) IS DISTINCT FROM
      (coalesce(r.total, 0), coalesce(r.pending, 0), coalesce(r.indexed, 0), coalesce(r.duplicate, 0),
       coalesce(r.failed, 0), coalesce(r.cancelled, 0))
"""


def list_miscounted_jobs(session: Session, page: Page) -> list[UUID]:
    """The jobs whose counts are not those of their items."""
    return list(session.scalars(text(MISCOUNTED), page.bounds))


def recount_jobs(session: Session, page: Page, jobs: Sequence[UUID]) -> int:
    """Set the counts of `jobs`, which lie in `page`, from their items. Returns how many were wrong.

    Whoever changes an item counts it under the job's lock, before or after us: first the lock, then a new snapshot.
    """
    ids = {"ids": list(jobs)}
    session.execute(text("SELECT FROM job WHERE id = ANY (:ids) ORDER BY id FOR NO KEY UPDATE"), ids)
    recounted = session.execute(
        text(f"""
            UPDATE job SET total = r.total, pending = r.pending, indexed = r.indexed, duplicate = r.duplicate,
                           failed = r.failed, cancelled = r.cancelled
            FROM ({MISCOUNTED} AND job.id = ANY (:ids)) r WHERE job.id = r.id
        """),
        {**page.bounds, **ids},
    )
    return recounted.rowcount  # type: ignore[attr-defined]


def list_unlisted_sources(session: Session, *, lock: bool = False) -> dict[UUID, bool]:
    """Closed jobs whose source is not at its end: {job id: whether it was to be cancelled}."""
    rows = session.execute(
        text(f"""
            SELECT s.job_id, job.cancelling FROM import_source s JOIN job ON job.id = s.job_id
            WHERE NOT s.done AND job.closed ORDER BY s.job_id {"FOR UPDATE OF s" if lock else ""}
        """)
    )
    return {row.job_id: row.cancelling for row in rows}


def open_or_end(session: Session, job_id: UUID, *, end: bool) -> None:
    """Make a job and its source agree: nothing more is listed, or the job waits for what is."""
    change = "UPDATE import_source SET done = true WHERE job_id" if end else "UPDATE job SET closed = false WHERE id"
    session.execute(text(f"{change} = :id"), {"id": job_id})


def list_abandoned_jobs(session: Session, idle_seconds: float) -> list[UUID]:
    """Those that `umbel.jobs.job_rows.close_abandoned_jobs` would close."""
    rows = session.scalars(
        text("""
            SELECT id FROM job WHERE NOT closed AND NOT paused AND type NOT IN ('reindex', 'deletion', 'map')
            AND changed_at < now() - make_interval(secs => :idle)
            AND NOT EXISTS (SELECT FROM import_source s WHERE s.job_id = job.id AND NOT s.done) ORDER BY id
        """),
        {"idle": idle_seconds},
    )
    return list(rows)


def list_deserted_items(
    session: Session, *, lease_seconds: float, silence_seconds: float, lock: bool = False
) -> list[UUID]:
    """Items whose lease ended `lease_seconds` ago, held by workers that nobody heard of for `silence_seconds`.

    lock: for this transaction, without those that somebody claims just now.
    """
    rows = session.scalars(
        text(f"""
            SELECT i.id FROM job_item i
            WHERE i.state = 'pending' AND i.lease_owner IS NOT NULL AND NOT i.held
              AND i.lease_until < now() - make_interval(secs => :lease)
              AND NOT EXISTS (SELECT FROM worker w WHERE w.name = i.lease_owner
                              AND w.seen_at > now() - make_interval(secs => :silence))
            ORDER BY i.id {"FOR UPDATE OF i SKIP LOCKED" if lock else ""}
        """),
        {"lease": lease_seconds, "silence": silence_seconds},
    )
    return list(rows)


def list_old_cleanups(session: Session, *, seconds: float, after: UUID, limit: int) -> list[Note]:
    """Up to `limit` notes that nobody took for `seconds`, nor is about to, by their ids."""
    # A note that was hastened is old at once; its id still tells how old it is.
    rows = session.execute(
        text("""
            SELECT id, blob_key FROM pending_blob_cleanup
            WHERE id > :after AND greatest(since, uuid_extract_timestamp(id)) < now() - make_interval(secs => :seconds)
            ORDER BY id LIMIT :limit FOR KEY SHARE SKIP LOCKED
        """),
        {"after": after, "seconds": seconds, "limit": limit},
    )
    return [Note(*row) for row in rows]


def list_present_images(session: Session, images: Sequence[UUID]) -> set[UUID]:
    """Those of `images` that nobody has removed."""
    return set(session.scalars(select(Image.id).where(Image.id.in_(images))))


def list_hashes(session: Session, page: Page) -> Sequence[Row[UUID, str, int, bytes]]:
    """Each image's id, blob_key, size and sha256."""
    columns = select(Image.id, Image.blob_key, Image.size, Image.sha256)
    return session.execute(columns.where(Image.id > page.after, Image.id <= page.last)).all()


def list_unembedded_images(session: Session, version_id: UUID, page: Page) -> dict[UUID, bool]:
    """Images that have no embedding of the version, though nothing is on its way or has failed.

    {image id: whether an item says that they had one}. Not those whose last attempt failed or was cancelled.
    """
    rows = session.execute(
        text(f"""
            WITH bare AS MATERIALIZED (
                SELECT id FROM image WHERE id > :after AND id <= :last AND NOT EXISTS (
                    SELECT FROM embedding e WHERE e.model_version_id = '{version_id}' AND e.image_id = image.id)
            )
            SELECT bare.id, newest.model_version_id IS NOT DISTINCT FROM '{version_id}' AS lost
            FROM bare LEFT JOIN LATERAL (
                SELECT i.state, job.model_version_id FROM job_item i JOIN job ON job.id = i.job_id
                WHERE i.image_id = bare.id AND i.state <> 'duplicate' AND i.queue IN ('single', 'bulk', 'fetch')
                ORDER BY i.id DESC LIMIT 1
            ) newest ON true
            WHERE coalesce(newest.state, 'indexed') = 'indexed'
              AND NOT EXISTS (
                  SELECT FROM job_item i
                  WHERE i.image_id = bare.id AND i.state = 'pending' AND i.queue IN ('single', 'bulk', 'fetch'))
        """),
        page.bounds,
    )
    return {row.id: row.lost for row in rows}


def list_lacking(session: Session, active: UUID, version_id: UUID, page: Page) -> list[UUID]:
    """Images of the active version that another, which is kept up to date, has no embedding of."""
    return list(
        session.scalars(
            text(f"""
                SELECT e.image_id FROM embedding e
                WHERE e.model_version_id = '{active}' AND e.image_id > :after AND e.image_id <= :last AND NOT EXISTS (
                    SELECT FROM embedding o WHERE o.model_version_id = '{version_id}' AND o.image_id = e.image_id)
                AND NOT EXISTS (
                    SELECT FROM job_item i WHERE i.image_id = e.image_id AND i.state = 'pending'
                    AND i.queue <> 'compare')
            """),
            page.bounds,
        )
    )


def list_wrong_vectors(session: Session, version: ModelVersion, page: Page) -> list[UUID]:
    """Images whose embedding of the version has another width than its model's, or is not of length 1."""
    return list(session.scalars(text(f"SELECT e.image_id FROM embedding e WHERE {_wrong(version)}"), page.bounds))


def delete_wrong_vectors(session: Session, version: ModelVersion, page: Page) -> list[UUID]:
    """Remove what `list_wrong_vectors` lists, and how it compared. Returns the images that have lost theirs."""
    statement = text(f"""
        WITH wrong AS (DELETE FROM embedding e WHERE {_wrong(version)} RETURNING e.image_id),
        compared AS (
            DELETE FROM nearest_neighbors n USING wrong
            WHERE n.image_id = wrong.image_id AND n.model_version_id = '{version.id}')
        SELECT image_id FROM wrong
    """)
    return list(session.scalars(statement, page.bounds))


def insert_repair_job(session: Session, version_id: UUID) -> UUID:
    """An open job for images of whatever collection."""
    statement = insert(Job).values(type=JobType.REPAIR, model_version_id=version_id, closed=False)
    return session.execute(statement.returning(Job.id)).scalar_one()


def queue_images(session: Session, job_id: UUID, images: Sequence[UUID]) -> int:
    """Have `images` embedded by the job, those that are still there. Returns how many."""
    queued = session.execute(
        text("""
            INSERT INTO job_item (job_id, image_id, queue, state, name)
            SELECT :job, id, 'bulk', 'pending', name FROM image WHERE id = ANY (:ids) ORDER BY id FOR KEY SHARE
        """),
        {"job": job_id, "ids": list(images)},
    )
    return queued.rowcount  # type: ignore[attr-defined]


def index_is_on_its_way(session: Session, version_id: UUID, *, seconds: float) -> bool:
    """Whether the version's index is being built, or a load that it waited for has ended within `seconds`."""
    recent = Job.changed_at > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    waiting = exists().where(Job.indexing, Job.model_version_id == version_id, recent)
    return find_index_progress(session, version_id) is not None or bool(session.scalar(select(waiting)))


def list_jobs_waiting_for_index(session: Session, version_id: UUID, *, seconds: float) -> list[UUID]:
    """Jobs that are done but for the version's index, and have been for `seconds`."""
    idle = Job.changed_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    waiting = select(Job.id).where(Job.indexing, Job.closed, Job.pending == 0, Job.model_version_id == version_id, idle)
    return list(session.scalars(waiting.order_by(Job.id)))


def _wrong(version: ModelVersion) -> str:
    """The version is a literal, so that only its partition is looked into."""
    return f"""
        e.model_version_id = '{version.id}' AND e.image_id > :after AND e.image_id <= :last
        AND (vector_dims(e.vector) <> {int(version.dim)} OR NOT l2_norm(e.vector) BETWEEN 0.99 AND 1.01)
    """
