"""One short storm in `make test`, and a blow that a storm deals too seldom; the long ones are `make faults`."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.faults.clients import Clients, Receipts
from tests.faults.images import image_bytes
from tests.faults.schedule import FAST, Fault, Kind
from tests.faults.strikes import wake_workers
from tests.faults.target import Scene, Target
from tests.faults.trial import Plan, Trial
from tests.processes import eventually, frozen
from worker.process import THREADS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

PATIENCE_SECONDS = 90  # on a busy machine; a worker that has lost Redis tries again after 2, 4, 6… seconds


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    made = Target()
    try:
        made.up()
        yield made
    finally:
        made.remove()


def test_a_short_storm_loses_nothing(target: Target) -> None:
    said: list[str] = []
    plan = Plan(images=80, faults=len(FAST), kinds=FAST, patience=60, pace=0.2)
    outcome = Trial(target, 1, plan, stop=threading.Event(), tell=said.append).run()
    assert outcome.failures == [], "\n".join(outcome.events)
    assert outcome.taken >= plan.images
    assert outcome.samples > 20
    assert outcome.struck.total() == len(FAST), said
    assert len(outcome.heals) == len(FAST) + 1


def test_a_worker_with_its_hands_full_when_redis_dies_hears_again(target: Target) -> None:
    """Rings that it holds while Redis dies must not count for ever against what it may hold: it would be deaf."""
    stop = threading.Event()
    clients = Clients(target.url, Receipts(), patience=PATIENCE_SECONDS, stop=stop)
    log = target.settings.home / "logs" / "worker.log"
    said = log.stat().st_size
    with frozen([target.supervisor()]):
        with database(target) as locker, database(target) as reader:
            locker.execute("LOCK query_image")  # where whoever is rung for searches has to wait
            wake_workers(Scene(target, clients, "default", stop), Fault(Kind.WAKEUPS, 0, 0, 0, 1))
            eventually(lambda: waiting(reader) >= THREADS, within=PATIENCE_SECONDS)
            target.process("redis").kill()
        eventually(lambda: b"Connection to broker lost" in log.read_bytes()[said:], within=PATIENCE_SECONDS)
    job_id = clients.ask(lambda api: api.upload(image_bytes(2, 1))).job_id
    assert job_id is not None
    assert clients.ask(lambda api: api.jobs.get(job_id, wait=PATIENCE_SECONDS)).status == "succeeded"
    clients.close()


def database(target: Target) -> "psycopg.Connection[Any]":
    return psycopg.connect(host=str(target.settings.socket_dir), user="umbel", dbname="umbel")


def waiting(reader: "psycopg.Connection[Any]") -> int:
    """How many sessions wait for a lock."""
    reader.rollback()  # within a transaction the statistics stand still
    row = reader.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
    return int(row[0]) if row else 0
