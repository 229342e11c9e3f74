"""When /readyz says that work waits and nobody gets anything done."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.integration.factory import Factory
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.types import Queue
from umbel.jobs import workers
from umbel.jobs.wakeup import waker
from umbel.operations import job_actions, maintenance

ACTIVE = "embed@there"


@pytest.fixture
def api(api: FlaskClient, database: None) -> FlaskClient:
    """With an active model, and one live worker that finished something two minutes ago."""
    with transaction() as session:
        Factory(session).version()
        workers.upsert_worker(session, ACTIVE, queues="single,bulk", device="cpu")
        session.execute(text("UPDATE worker SET progress_at = now() - interval '2 minutes'"))
    return api


def job_with_item(queue: Queue) -> Any:
    with transaction() as session:
        make = Factory(session)
        job_id = make.job()
        make.item(job_id, queue=queue)
        return job_id


def beat(*, progressed: bool) -> None:
    with transaction() as session:
        workers.touch_worker(session, ACTIVE, progressed=progressed, broker_connected=True)


def ready(api: FlaskClient) -> bool:
    answer = api.get("/readyz")
    body = answer.get_json()
    assert body["ready"] == (answer.status_code == 200) == body["checks"]["progress"], body
    assert body["reasons"] == ([] if body["ready"] else ["Work waits, and no worker has finished any for a while."])
    return bool(body["ready"])


def test_an_idle_worker_is_ready(api: FlaskClient) -> None:
    assert ready(api)


@pytest.mark.parametrize(("queue", "stalled"), [(Queue.BULK, True), (Queue.REINDEX, True), (Queue.COMPARE, False)])
def test_work_that_waits_for_a_worker_stalls_and_work_that_waits_for_an_index_does_not(
    api: FlaskClient, queue: Queue, stalled: bool
) -> None:
    job_with_item(queue)
    beat(progressed=False)
    assert ready(api) != stalled


def test_progress_makes_it_ready_again(api: FlaskClient) -> None:
    job_with_item(Queue.SINGLE)
    assert not ready(api)
    beat(progressed=True)
    assert ready(api)


def test_a_paused_job_does_not_stall_nor_does_it_when_it_is_resumed(api: FlaskClient) -> None:
    job_id = job_with_item(Queue.BULK)
    job_actions.pause_job(transaction, job_id)
    assert ready(api)
    beat(progressed=False)  # nothing was left to do, so the minute begins when there is
    job_actions.resume_job(transaction, waker(), job_id)
    assert ready(api)


@pytest.mark.usefixtures("database", "redis")
def test_a_worker_that_was_killed_a_day_ago_is_forgotten_and_one_that_is_silent_for_an_hour_is_not() -> None:
    with transaction() as session:
        for hours in (1, 25):
            workers.upsert_worker(session, f"silent {hours}", queues="single", device="cpu")
            session.execute(
                text("UPDATE worker SET seen_at = now() - make_interval(hours => :hours) WHERE name = :name"),
                {"hours": hours, "name": f"silent {hours}"},
            )
    maintenance.sweep(transaction, waker(), settings())
    with transaction() as session:
        assert session.scalars(text("SELECT name FROM worker WHERE name LIKE 'silent%'")).all() == ["silent 1"]


def test_one_worker_that_gets_on_is_enough(api: FlaskClient) -> None:
    job_with_item(Queue.SINGLE)
    with transaction() as session:
        workers.upsert_worker(session, "embed@busy", queues="single", device="cpu")
    assert ready(api)
