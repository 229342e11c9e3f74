"""One short storm in `make test`, and a blow that a storm deals too seldom; the long ones are `make faults`."""

import threading
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from core.doorbell import TASKS
from tests.faults.clients import Clients, Receipts
from tests.faults.pictures import picture
from tests.faults.schedule import FAST, Fault, Kind
from tests.faults.strikes import ring_doorbells
from tests.faults.target import Scene, Target, children
from tests.faults.trial import Plan, Trial
from tests.processes import eventually, frozen

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

LONGER_THAN_A_RING = 1.5  # seconds; a worker looks for the next at least once a second
HEAR_SECONDS = 90  # Redis starts, and a worker that has lost it tries again after 2, 4, 6… seconds


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
    plan = Plan(pictures=80, faults=len(FAST), kinds=FAST, patience=60, pace=0.2)
    outcome = Trial(target, 1, plan, stop=threading.Event(), tell=said.append).run()
    assert outcome.failures == [], "\n".join(outcome.events)
    assert outcome.taken >= plan.pictures
    assert outcome.samples > 20
    assert outcome.struck.total() == len(FAST), said
    assert len(outcome.heals) == len(FAST) + 1


def test_a_worker_with_its_hands_full_when_redis_dies_hears_again(target: Target) -> None:
    """Rings that it holds while Redis dies must not count for ever against what it may hold: it would be deaf."""
    stop = threading.Event()
    clients = Clients(target.url, Receipts(), patience=60, stop=stop)
    postmaster = target.process("postgres")
    log = target.settings.home / "logs" / "worker.log"
    said = log.stat().st_size
    with frozen([target.supervisor()]):
        with frozen([postmaster, *children(postmaster)]):
            ring_doorbells(Scene(target, clients, stop), Fault(Kind.DOORBELLS, 0, 0, 0, 1))
            with Redis.from_url(target.settings.redis) as redis:
                eventually(lambda: stands_still(redis))
            target.process("redis").kill()
        eventually(lambda: b"Connection to broker lost" in log.read_bytes()[said:])
    job_id = clients.ask(lambda api: api.upload(picture(2, 1))).job_id
    assert job_id is not None
    assert clients.ask(lambda api: api.job(job_id, wait=HEAR_SECONDS)).status == "succeeded"
    clients.close()


def stands_still(redis: "Redis") -> bool:
    """Whether rings wait that nobody takes any more: all hands are full."""
    before = waiting(redis)
    time.sleep(LONGER_THAN_A_RING)
    return 0 < waiting(redis) == before


def waiting(redis: "Redis") -> int:
    return sum(int(redis.llen(lane)) for lane in TASKS)
