"""What the files of deploy/ say of the code: its queues, its tables."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text

from tests.integration.factory import Factory
from umbel.base.database import transaction
from umbel.base.types import Queue
from umbel.jobs import jobs
from umbel.jobs.settling import settle_some
from worker.app import celery

ROOT = Path(__file__).parents[2]


def documents(path: str) -> list[Any]:
    return list(yaml.safe_load_all((ROOT / path).read_text()))


def test_the_queues_exporter_counts_every_queue_that_workers_serve() -> None:
    [compose] = documents("docker-compose.yml")
    counted = compose["services"]["celery-exporter"]["environment"]["CE_QUEUES"].split(",")
    assert sorted(counted) == sorted(queue.name for queue in celery.conf.task_queues)


@pytest.mark.usefixtures("database")
def test_workers_are_scaled_by_the_items_that_wait() -> None:
    [scaled, _] = documents("deploy/kubernetes/base/scaling.yaml")
    [trigger] = scaled["spec"]["triggers"]
    with transaction() as session:
        make = Factory(session)
        job_id = make.job()
        make.item(job_id, queue=Queue.BULK)
        paused = make.job()
        make.item(paused, queue=Queue.BULK)
        jobs.change_job(session, paused, paused=True, settling=True)
        settle_some(session, paused)
        assert session.scalar(text(trigger["metadata"]["query"])) == 1
