"""The sweep and the cleanup beside what is in their way: another sweep, a store that deletes nothing, a dump."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event, text
from structlog.testing import capture_logs

from stack.redis import Redis
from tests.integration.factory import Factory, unit
from tests.processes import eventually
from umbel.base.blobs import Blobs, blobs
from umbel.base.database import engine, transaction
from umbel.base.errors import TransientError
from umbel.base.locks import only_one
from umbel.base.metrics import CLEANED_UP
from umbel.base.settings import settings
from umbel.base.types import Queue
from umbel.gallery import blob_cleanups, images
from umbel.jobs.wakeup import waker
from umbel.models import lifecycle, partitions
from umbel.operations import maintenance, statistics
from umbel.search.nearest import Scope, nearest_images

pytestmark = pytest.mark.usefixtures("database")


def test_a_sweep_beside_another_does_nothing(redis: Redis) -> None:
    with transaction() as session:
        make = Factory(session)
        make.version()
        make.item(make.job())
    with only_one("umbel sweep"):
        beside = maintenance.sweep(transaction, waker(), settings())
    assert (beside, maintenance.sweep(transaction, waker(), settings())) == ([], [Queue.SINGLE, Queue.EVENTS])


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


def last_complete() -> dict[str, float]:
    """When each cleanup last left nothing to do."""
    [gauge] = CLEANED_UP.collect()
    return {sample.labels["of"]: sample.value for sample in gauge.samples}


def test_a_blob_that_cannot_be_deleted_keeps_no_other() -> None:
    for name in ("pictures/a", "pictures/stuck", "pictures/z"):
        blobs().put(name, b"bytes")
    with transaction() as session:
        blob_cleanups.insert_cleanups(session, ["pictures/a", "pictures/stuck", "pictures/z"])
        session.execute(text("UPDATE pending_blob_cleanup SET since = '-infinity'"))
    sticking = StuckBlobs(settings().blobs)
    maintenance.clean_up(transaction, sticking, settings())
    was = last_complete()
    with transaction() as session:
        session.execute(text("UPDATE pending_blob_cleanup SET since = '-infinity'"))
    maintenance.clean_up(transaction, sticking, settings())
    assert [of for of, at in last_complete().items() if at == was[of]] == ["blobs"]
    with transaction() as session:
        notes = session.execute(text("SELECT blob_key, since > now() - interval '1 min' FROM pending_blob_cleanup"))
        assert [tuple(row) for row in notes] == [("pictures/stuck", True)]
    assert [blob.key for blob in blobs().list("pictures")] == ["pictures/stuck"]


def test_dead_rows_of_large_tables_are_told() -> None:
    with transaction() as session:
        session.execute(text("CREATE TABLE lived AS SELECT n FROM generate_series(1, 12000) n"))
        session.execute(text("CREATE TABLE small AS SELECT n FROM generate_series(1, 9000) n"))
        session.execute(text("DELETE FROM lived WHERE n <= 3000"))
        session.execute(text("DELETE FROM small"))
        session.execute(text("SELECT pg_stat_force_next_flush()"))
    with transaction() as session:
        [figure] = [each for each in statistics.FIGURES if each.statement == statistics.DEAD]
        assert statistics.count(session, figure) == {"lived": 0.25}
        session.execute(text("DROP TABLE lived, small"))


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


def test_what_a_version_knew_of_neighbors_is_deleted_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "BATCH", 2)
    deleted: list[str] = []

    def count(*asked: Any) -> None:
        if asked[2].startswith("DELETE FROM nearest_neighbors"):
            deleted.append(asked[2])

    with transaction() as session:
        make = Factory(session)
        version_id = make.version(active=False).id
        for _ in range(5):
            make.image()
        session.execute(
            text("""
                INSERT INTO nearest_neighbors (model_version_id, image_id, collection_id, neighbors, distances,
                                               pixel_similarities, pixel_similarity)
                SELECT :version, id, collection_id, '{}', '{}', '{}', 0 FROM image
            """),
            {"version": version_id},
        )
    lifecycle.retire(transaction, version_id)

    event.listen(engine(), "before_cursor_execute", count)
    try:
        lifecycle.drop_retired(transaction, seconds=0)
    finally:
        event.remove(engine(), "before_cursor_execute", count)

    assert len(deleted) == 3
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM nearest_neighbors")) == 0


def test_a_cleanup_that_leaves_vectors_is_not_complete() -> None:
    with transaction() as session:
        retired = Factory(session).version(active=False).id
    lifecycle.retire(transaction, retired)
    at_once = settings().model_copy(update={"query_seconds": 0})
    with transaction() as session:
        session.execute(text(f"LOCK TABLE {partitions.partition_name(retired)} IN ACCESS SHARE MODE"))
        maintenance.clean_up(transaction, blobs(), at_once)
        was = last_complete()["versions"]
        maintenance.clean_up(transaction, blobs(), at_once)
        meanwhile = last_complete()["versions"]
    maintenance.clean_up(transaction, blobs(), at_once)
    assert (meanwhile == was, last_complete()["versions"] > was) == (True, True)


def test_vectors_that_are_being_read_keep_no_others_from_being_dropped() -> None:
    with transaction() as session:
        make = Factory(session)
        read, other = (make.version(active=False).id for _ in range(2))
    for version_id in (read, other):
        lifecycle.retire(transaction, version_id)
    with transaction() as session:
        session.execute(text(f"LOCK TABLE {partitions.partition_name(read)} IN ACCESS SHARE MODE"))
        with capture_logs() as told:
            assert lifecycle.drop_retired(transaction, seconds=0) == [other]
    assert [(line["model_version_id"], line["log_level"]) for line in told] == [(str(read), "warning")]
    assert lifecycle.drop_retired(transaction, seconds=0) == [read]
    with transaction() as session:
        assert partitions.list_partitions(session) == []


def is_waiting(statement: str) -> bool:
    """Whether a session waits for others in a statement like this."""
    with transaction() as session:
        return bool(
            session.scalar(
                text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE :statement"),
                {"statement": statement},
            )
        )


@pytest.mark.slow
def test_all_goes_on_while_vectors_are_detached_that_a_dump_is_in_the_way_of(redis: Redis) -> None:
    """The dump began before the partition was made, so it has the table and no lock on the partition."""
    with transaction() as session:
        active = Factory(session).version()

    def use(seed: int) -> None:
        with transaction() as session:
            session.execute(text("SET LOCAL lock_timeout = '1s'"))
            make = Factory(session, start=seed)
            made = [make.image(vector=unit(seed + n), version=active) for n in range(2)]
            make.item(make.job())
            images.delete_images(session, [made[1]])  # with its vectors, in whatever partitions they are
            [match] = nearest_images(session, unit(seed), k=1, scope=Scope()).matches
        assert match.image_id == made[0]
        assert maintenance.sweep(transaction, waker(), settings()) == [Queue.SINGLE, Queue.EVENTS]

    with ThreadPoolExecutor(1) as pool, transaction() as dump:
        dump.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        dump.execute(text("SELECT count(*) FROM embedding"))
        with transaction() as session:
            retired = Factory(session, start=100).version(active=False).id
        lifecycle.retire(transaction, retired)
        for number, way in enumerate(("CONCURRENTLY", "FINALIZE")):
            dropping = pool.submit(lifecycle.drop_retired, transaction, seconds=0)
            eventually(lambda way=way: is_waiting(f"%DETACH PARTITION % {way}"))  # type: ignore[misc]
            use(1_000 * (number + 1))
            assert dropping.result() == []
    assert lifecycle.drop_retired(transaction, seconds=0) == [retired]
