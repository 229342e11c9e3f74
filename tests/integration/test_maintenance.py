"""The sweep and the cleanup beside what is in their way: another sweep, a store that deletes nothing, a dump."""

import time
from collections.abc import Iterable

import pytest
from sqlalchemy import text

from stack.redis import Redis
from tests.integration.factory import Factory
from umbel.base.blobs import Blobs, blobs
from umbel.base.database import transaction
from umbel.base.errors import TransientError
from umbel.base.locks import only_one
from umbel.base.settings import settings
from umbel.base.types import Queue
from umbel.gallery import blob_cleanups
from umbel.jobs.wakeup import waker
from umbel.models import lifecycle, partitions
from umbel.operations import maintenance

pytestmark = pytest.mark.usefixtures("database")


def test_a_sweep_beside_another_does_nothing(redis: Redis) -> None:
    with transaction() as session:
        make = Factory(session)
        make.version()
        make.item(make.job())
    with only_one("umbel sweep"):
        beside = maintenance.sweep(transaction, waker(), settings())
    assert (beside, maintenance.sweep(transaction, waker(), settings())) == ([], [Queue.SINGLE])


class StuckBlobs(Blobs):
    """A store in which one blob cannot be deleted."""

    def delete_all(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        if "pictures/stuck" in keys:
            raise TransientError("The blob store refuses to delete it.")
        super().delete_all(keys)


class RefusingBlobs(Blobs):
    """A store that refuses to delete the first blob that it is asked to, and takes its time over all others."""

    asked = 0

    def delete(self, key: str) -> None:
        self.asked += 1
        if key == "0":
            raise TransientError("The blob store does not answer.")
        time.sleep(0.05)


def test_a_store_that_does_not_answer_is_not_asked_for_each_blob() -> None:
    refusing = RefusingBlobs(settings().blobs)
    with pytest.raises(TransientError):
        refusing.delete_all([str(number) for number in range(100)])
    assert refusing.asked < 100


def test_a_blob_that_cannot_be_deleted_keeps_no_other() -> None:
    for name in ("pictures/a", "pictures/stuck", "pictures/z"):
        blobs().put(name, b"bytes")
    with transaction() as session:
        blob_cleanups.insert_cleanups(session, ["pictures/a", "pictures/stuck", "pictures/z"])
        session.execute(text("UPDATE pending_blob_cleanup SET since = '-infinity'"))
    maintenance.tidy_blobs(transaction, StuckBlobs(settings().blobs))
    with transaction() as session:
        notes = session.execute(text("SELECT blob_key, since > now() - interval '1 min' FROM pending_blob_cleanup"))
        assert [tuple(row) for row in notes] == [("pictures/stuck", True)]
    assert [blob.key for blob in blobs().list("pictures")] == ["pictures/stuck"]


def test_vectors_are_dropped_once_a_dump_is_over_and_it_is_not_waited_for() -> None:
    with transaction() as session:
        retired = Factory(session).version(active=False).id
    lifecycle.retire(transaction, retired)
    soon = settings().model_copy(update={"query_seconds": 0})
    with transaction() as session:
        session.execute(text("LOCK TABLE embedding IN ACCESS SHARE MODE"))
        maintenance.clean_up(transaction, blobs(), soon)
        assert partitions.has_partition(session, retired)
    maintenance.clean_up(transaction, blobs(), soon)
    with transaction() as session:
        assert not partitions.has_partition(session, retired)
