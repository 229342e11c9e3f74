"""One short storm in `make test`, and a blow that a storm deals too seldom; the long ones are `make faults`."""

import threading
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.faults.clients import Clients, Receipts
from tests.faults.pictures import picture
from tests.faults.schedule import FAST, Fault, Kind
from tests.faults.strikes import ring_doorbells
from tests.faults.target import Scene, Target, children
from tests.faults.trial import Plan, Trial
from tests.processes import eventually, frozen
from worker.process import THREADS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


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
    """Acknowledgements that fail must not use up the messages that a worker may hold: it would be deaf for ever."""
    stop = threading.Event()
    clients = Clients(target.url, Receipts(), patience=60, stop=stop)
    postmaster = target.process("postgres")
    with frozen([target.supervisor()]):
        with frozen([postmaster, *children(postmaster)]):
            ring_doorbells(Scene(target, clients, stop), Fault(Kind.DOORBELLS, 0, 0, 0, 1))
            with Redis.from_url(target.settings.redis) as redis:
                eventually(lambda: int(redis.hlen("unacked")) >= THREADS)
            target.process("redis").kill()
        eventually(lambda: "Couldn't ack" in (target.settings.home / "logs" / "worker.log").read_text())
    eventually(lambda: clients.ask(lambda api: api.ready()).ready)
    accepted = clients.ask(lambda api: api.upload(picture(2, 1)))
    assert accepted.job_id is not None
    job_id = accepted.job_id
    assert clients.ask(lambda api: api.job(job_id, wait=40)).status == "succeeded"
    clients.close()
