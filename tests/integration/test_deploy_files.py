"""What the files of deploy/ say of the code: its queues, its tables."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text

from tests.integration.factory import Factory
from umbel.base.database import transaction
from umbel.base.settings import Settings
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


def test_a_sweep_is_not_given_up_because_two_clocks_differ() -> None:
    """Beat writes the time on one host, a worker reads it on another."""
    assert celery.conf.beat_schedule["sweep"]["options"]["expires"] >= 600


def test_archives_wait_on_a_volume_of_their_own() -> None:
    [compose] = documents("docker-compose.yml")
    api = compose["services"]["api"]
    [volume] = [one for one in api["volumes"] if one.endswith(":" + api["environment"]["UMBEL_SPOOL"])]
    assert volume.split(":")[0] in compose["volumes"]

    pod = documents("deploy/kubernetes/base/api.yaml")[0]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    where = {one["name"]: one["value"] for one in container["env"]}["UMBEL_SPOOL"]
    mounted = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    claims = {
        one["name"]: one["ephemeral"]["volumeClaimTemplate"]["spec"] for one in pod["volumes"] if "ephemeral" in one
    }
    room = claims[mounted[where]]["resources"]["requests"]["storage"]
    assert int(room.removesuffix("Gi")) * 2**30 > Settings().archive_bytes


def test_the_metrics_of_every_worker_may_be_read() -> None:
    [policy] = [
        one for one in documents("deploy/kubernetes/base/network.yaml") if one["metadata"]["name"] == "worker-metrics"
    ]
    [selects] = policy["spec"]["podSelector"]["matchExpressions"]
    files = ["deploy/kubernetes/base/worker.yaml", *map(str, (ROOT / "deploy/kubernetes/gpu").glob("*.yaml"))]
    deployments = [one for file in files for one in documents(file) if one.get("kind") == "Deployment"]
    names = {one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] for one in deployments}
    assert {"worker", "worker-gpu"} <= names <= {*selects["values"]}
