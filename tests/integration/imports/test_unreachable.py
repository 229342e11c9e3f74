"""Imports from buckets that refuse connections or never answer, beside others; and how such an import ends."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.images import image_bytes
from tests.integration.imports.archives import counts, expire_leases, imported, job, use, zipped
from umbel.base.database import transaction
from umbel.base.progress import Progress
from umbel.base.settings import Settings, settings
from umbel.base.tables import ImportSource
from umbel.base.types import Queue
from umbel.imports import entries, source_rows
from umbel.imports.entries import NewEntry
from umbel.imports.turns import Turns
from umbel.jobs import workers
from umbel.operations import maintenance, statistics
from worker.decoders import WorkerDecoders
from worker.handlers import Handlers
from worker.watchdog import Watchdog

pytestmark = pytest.mark.usefixtures("database", "redis")

NOWHERE = "http://127.0.0.1:9"  # the discard port, on which nothing listens
ROOTS = {"import_roots": ("s3://photos",)}


@pytest.fixture
def bucket(api: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Opens an import from a bucket; the job's id."""
    use(monkeypatch, **ROOTS)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    source = {"source": {"type": "s3", "url": "s3://photos/2024"}}
    return lambda: str(api.post("/v1/imports", json=source).get_json()["job_id"])


class BlackHole:
    """An endpoint that takes connections and never says a word, until it closes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._taken: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def take(self) -> None:
        """Wait for a connection."""
        self._taken.append(self._listener.accept()[0])

    def close(self) -> None:
        for each in [self._listener, *self._taken]:
            each.close()


@pytest.fixture
def black_hole() -> Iterator[BlackHole]:
    hole = BlackHole()
    yield hole
    hole.close()


def config(endpoint: str, **values: Any) -> Settings:
    return settings().model_copy(update={**ROOTS, "s3_endpoint": endpoint, **values})


def worker(decoder: WorkerDecoders, with_settings: Settings) -> Handlers:
    """All handlers of a worker process; none of them loads a model here."""
    watchdog = Watchdog(transaction, with_settings, list(Queue), lambda _: None)
    name, models = "embed@here", cast(Any, SimpleNamespace(loading=Progress()))
    return Handlers(with_settings, models, decoder, watchdog, name=name, queues=list(Queue), stopping=lambda: False)


def due(job_id: str) -> None:
    """The time of the source's next try has come."""
    with transaction() as session:
        session.execute(text("UPDATE import_source SET next_try = now() WHERE job_id = :id"), {"id": job_id})


def source_of(job_id: str) -> ImportSource:
    with transaction() as session:
        return source_rows.get_source(session, UUID(job_id))


def listed(job_id: str, *names: str) -> None:
    """As if the bucket had been listed to its end when it could still be reached."""
    with transaction() as session:
        entries.insert_entries(session, UUID(job_id), [NewEntry(name, name) for name in names])
        session.execute(text("UPDATE import_source SET done = true WHERE job_id = :id"), {"id": job_id})
        session.execute(text("UPDATE job SET closed = true WHERE id = :id"), {"id": job_id})


@pytest.mark.parametrize("reading", [False, True], ids=["listing", "reading"])
def test_an_import_beside_a_bucket_that_never_answers(
    bucket: Callable[[], str], api: FlaskClient, decoder: WorkerDecoders, black_hole: BlackHole, reading: bool
) -> None:
    hanging = bucket()
    if reading:
        listed(hanging, *(f"{number}.jpg" for number in range(40)))
    handlers = worker(decoder, config(black_hole.url))
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(handlers.work, Queue.FETCH)
        black_hole.take()
        beside = imported(api, zipped(**{"a.jpg": image_bytes(1)}))
        handlers.work(Queue.FETCH)
        assert counts(api, beside) == {"pending": 1}
        [(queue,)] = rows("SELECT queue FROM job_item WHERE job_id = :id", beside)
        assert (queue, hung.done()) == (Queue.BULK, False)
        black_hole.close()
        hung.result()
    assert job(api, hanging)["source"]["tries"] == 1


def rows(statement: str, job_id: str) -> list[Any]:
    with transaction() as session:
        return list(session.execute(text(statement), {"id": job_id}))


def test_no_transaction_is_open_while_a_source_is_asked(
    bucket: Callable[[], str], decoder: WorkerDecoders, black_hole: BlackHole
) -> None:
    bucket()
    handlers = worker(decoder, config(black_hole.url))
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(handlers.work, Queue.FETCH)
        black_hole.take()
        open_ones = rows("SELECT query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'", "")
        black_hole.close()
        hung.result()
    assert open_ones == []


@pytest.mark.parametrize("reading", [False, True], ids=["listing", "reading"])
def test_a_bucket_that_refuses_connections_is_tried_later_and_told(
    bucket: Callable[[], str], api: FlaskClient, fetch: Any, reading: bool
) -> None:
    unreachable = bucket()
    if reading:
        listed(unreachable, "a.jpg", "b.jpg")
    reached = imported(api, zipped(**{"a.jpg": image_bytes(1)}))
    fetch(config=config(NOWHERE))
    found = job(api, unreachable)["source"]
    assert (found["error"], found["tries"]) == ("The bucket photos refused the connection.", 1)
    assert found["next_try"] > job(api, unreachable)["created_at"]
    assert (counts(api, reached), job(api, unreachable)["finished_at"]) == ({"pending": 1}, None)
    with transaction() as session:
        assert maintenance.list_waiting_queues(session) == [Queue.BULK]
        session.execute(text("UPDATE job_item SET paused = true WHERE queue = 'bulk'"))
        assert not workers.work_is_left(session)
        [figure] = [each for each in statistics.FIGURES if each.name == "umbel_import_sources"]
        assert statistics.count(session, figure) == {"reachable": 1, "unreachable": 1}


def test_the_tries_space_out(bucket: Callable[[], str], fetch: Any) -> None:
    unreachable, delays = bucket(), []
    for _ in range(11):
        fetch(config=config(NOWHERE, source_tries=12))
        [(delay,)] = rows("SELECT round(extract(epoch FROM next_try - now())) FROM import_source", "")
        delays.append(int(delay))
        due(unreachable)
    assert delays == pytest.approx([2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600], abs=2)


@pytest.mark.parametrize("reading", [False, True], ids=["listing", "reading"])
def test_an_import_that_cannot_be_reached_ends_and_says_why(
    bucket: Callable[[], str], api: FlaskClient, fetch: Any, reading: bool
) -> None:
    unreachable = bucket()
    if reading:
        listed(unreachable, *(f"{number}.jpg" for number in range(40)))
    for _ in range(4):
        with transaction() as session:
            session.execute(text("UPDATE import_source SET failing_since = failing_since - interval '10 min'"))
        due(unreachable)
        expire_leases()
        fetch(config=config(NOWHERE, source_tries=3))
    found = job(api, unreachable)
    says = "The bucket photos refused the connection. It was given up after 3 tries in 20 min."
    assert (found["status"], found["error"], found["source"]["error"]) == ("failed", says, says)
    assert found["counts"]["failed"] == (40 if reading else 0)
    for item in api.get(f"/v1/jobs/{unreachable}/items").get_json()["items"]:
        assert (item["error_code"], item["error"]) == ("source_given_up", says)


def test_what_was_given_up_can_be_tried_again(bucket: Callable[[], str], api: FlaskClient, fetch: Any) -> None:
    unreachable = bucket()
    listed(unreachable, "a.jpg")
    fetch(config=config(NOWHERE, source_tries=1))
    expire_leases()
    fetch(config=config(NOWHERE))
    assert job(api, unreachable)["status"] == "failed"
    assert api.post(f"/v1/jobs/{unreachable}/retry").status_code == 200
    again = job(api, unreachable)
    assert (again["counts"]["pending"], again["source"]["error"], again["source"]["tries"]) == (1, None, 0)
    fetch(config=config(NOWHERE))
    assert job(api, unreachable)["source"]["tries"] == 1


def test_every_source_gets_its_turn_and_those_that_fail_leave_room(
    bucket: Callable[[], str], decoder: WorkerDecoders
) -> None:
    jobs = [bucket() for _ in range(4)]
    with transaction() as session:
        session.execute(text("UPDATE import_source SET retries = 1 WHERE job_id = ANY (:ids)"), {"ids": jobs[:3]})
    turns = Turns(transaction, most_failing=1)
    with turns.take([]) as first, turns.take([]) as second, turns.take([]) as third:
        assert ([str(first), str(second)], third) == ([jobs[0], jobs[3]], None)
    order = []
    for _ in range(4):
        with turns.take([]) as job_id:
            order.append(str(job_id))
    assert sorted(order[:2]) == sorted(jobs[1:3])
    assert sorted(order) == sorted(jobs)
