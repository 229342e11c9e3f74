"""Comparisons: begun for what is new in a collection, or for all of it. The work: umbel/insights/comparing.py."""

from dataclasses import dataclass
from uuid import UUID

from umbel.base.database import Transaction
from umbel.base.errors import Conflict
from umbel.base.types import Queue
from umbel.gallery import collections
from umbel.insights import nearest_neighbors
from umbel.jobs.wakeup import Waker
from umbel.models import versions


@dataclass(frozen=True, slots=True)
class Begun:
    """A comparison that was begun. pictures: how many are to be compared."""

    job_id: UUID
    images: int


def begin_comparison(
    transaction: Transaction, waker: Waker, *, collection: str | None, again: bool = False
) -> Begun | None:
    """Have the images of a collection (None: of each) compared that were not yet, or all of them. None: all were.

    Raises NotFound for the collection, NotReady without a model, Conflict while such a job is unfinished.
    """
    with transaction() as session:
        version = versions.get_active_version(session)
        collection_id = collection and collections.get_collection(session, collection)
        nearest_neighbors.lock_comparisons(session)
        unfinished = nearest_neighbors.find_unfinished_comparison(session, collection_id or None)
        if unfinished is not None:
            raise Conflict(f"Job {unfinished} compares these pictures already; wait for its end, or cancel it.")
        found = nearest_neighbors.insert_comparison(session, version.id, collection_id or None, again=again)
    if found is None:
        return None
    waker.wake(Queue.COMPARE)
    return Begun(*found)
