"""Deletions of collections: begun. The work itself: umbel/gallery/deleting.py."""

from dataclasses import dataclass
from uuid import UUID

from umbel.base.database import Transaction
from umbel.base.errors import NotFound
from umbel.base.types import JobStatus, Queue
from umbel.gallery import deletions
from umbel.jobs.wakeup import Waker


@dataclass(frozen=True, slots=True)
class Begun:
    """A deletion that goes on."""

    job_id: UUID
    status: JobStatus


def begin_deletion(transaction: Transaction, waker: Waker, name: str) -> Begun:
    """Hide a collection from everybody and have it removed with all that it has.

    Asked for again meanwhile, it is the same job; unless a new collection has taken the name, which is then deleted.
    Raises NotFound.
    """
    with transaction() as session:
        collection_id = deletions.hide_collection(session, name)
        if collection_id is None:
            found = deletions.find_deletion(session, name)
            if found is None:
                raise NotFound(f"There is no collection called {name!r}.")
            return Begun(*found)
        deletions.stop_jobs(session, collection_id)
        job_id = deletions.insert_deletion(session, collection_id)
    waker.wake(Queue.DELETE)
    return Begun(job_id, JobStatus.QUEUED)
