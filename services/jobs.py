"""Jobs: waited for, opened for an import, sealed; and the sweep that finds work left behind."""

import time
from uuid import UUID

from sqlalchemy.orm import Session

from core.doorbell import Doorbell
from core.settings import Settings
from core.types import JobType, Lane
from db import collections, items, jobs, queries
from db.models import Job
from db.notify import LOOK_SECONDS, Listener
from db.session import Transaction

ABANDONED_SECONDS = 600


def open_import(session: Session, collection: str) -> UUID:
    """A job that takes pictures until it is sealed."""
    collection_id = collections.upsert_collection(session, collection)
    return jobs.insert_job(session, JobType.IMPORT, collection_id=collection_id, sealed=False)


def wait_for_job(transaction: Transaction, listener: Listener, job_id: UUID, seconds: float) -> Job:
    """The job, as soon as it has finished or `seconds` have passed. Raises NotFound."""
    deadline = time.monotonic() + seconds
    with listener.expecting(f"job {job_id}") as finished:
        while True:
            with transaction() as session:
                job = jobs.get_job(session, job_id)
            left = deadline - time.monotonic()
            if job.finished_at is not None or left <= 0:
                return job
            finished.wait(min(left, LOOK_SECONDS))


def sweep(transaction: Transaction, doorbell: Doorbell, settings: Settings) -> list[Lane]:
    """Ring again for whatever waits, and tidy up after those who will not come back. Returns the lanes rung."""
    with transaction() as session:
        items.fail_exhausted_items(session, settings.max_attempts)
        jobs.seal_abandoned_jobs(session, ABANDONED_SECONDS)
        lanes = items.list_waiting_lanes(session)
        queries.delete_old_queries(session, 4 * settings.query_seconds)
        if queries.release_unanswered_queries(session, settings.query_seconds / 3):
            lanes.insert(0, Lane.QUERY)
    for lane in lanes:
        doorbell.ring(lane)
    return lanes
