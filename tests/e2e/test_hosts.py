"""Workers on three hosts against one database, one Redis and one bucket; one host is cut off in mid-import.

A host is a loopback address of its own, by which alone its worker reaches the three servers, and a home of its own:
hosts share no file. Cut off, its connections break and none is let in any more, while its processes go on, as when a
switch fails.
"""

import io
import json
import os
import random
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import boto3
import httpx
import pytest
from sqlalchemy import text

from stack.redis import Redis
from tests.conversions import share_conversions
from tests.faults.proxy import Proxy
from tests.images import image_bytes
from tests.integration.workers import alive
from tests.processes import UMBEL, Process, eventually, free_port
from tests.s3_server import s3_server
from umbel.base.database import transaction
from umbel.base.settings import settings

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("database"), pytest.mark.timeout(300)]

IMAGES = 300
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
BLOBS = {"UMBEL_BLOB_URL": "s3://umbel/gallery", "AWS_ALLOW_HTTP": "true", **CREDENTIALS}


@pytest.fixture
def bucket() -> Iterator[tuple[str, int]]:
    """Address of an S3 server with an empty bucket `umbel`."""
    with s3_server() as url:
        boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
        ).create_bucket(Bucket="umbel")
        host, _, port = url.removeprefix("http://").rpartition(":")
        yield host, int(port)


class Host:
    """A machine with one worker."""

    def __init__(self, number: int, bucket: tuple[str, int], folder: Path, held: ExitStack) -> None:
        self.name = f"embed@host-{number}"
        address, sockets = f"127.0.1.{number}", settings().socket_dir
        servers = (sockets / ".s.PGSQL.5432", sockets / "redis.sock", bucket)
        self.cables = [held.enter_context(Proxy(server, host=address)) for server in servers]
        postgres, redis, s3 = (f"{address}:{cable.port}" for cable in self.cables)
        share_conversions(home := folder / f"host-{number}")
        self.worker = Process(
            "worker", "--name", self.name, log=folder / f"host-{number}.log",
            UMBEL_HOME=str(home), UMBEL_LOG_LEVEL="INFO", UMBEL_LEASE_SECONDS="5",
            UMBEL_DECODE_PROCESSES="1", UMBEL_MODEL_THREADS="1",
            UMBEL_DATABASE_URL=f"postgresql+psycopg://umbel@{postgres}/umbel", UMBEL_REDIS_URL=f"redis://{redis}/0",
            AWS_ENDPOINT_URL=f"http://{s3}", **BLOBS,
        )  # fmt: skip
        held.callback(self.worker.kill)

    def cut_off(self) -> None:
        for cable in self.cables:
            cable.refuse()
            cable.cut(random.Random(0))

    def holds(self) -> set[UUID]:
        """The items that its worker has claimed."""
        with transaction() as session:
            return set(
                session.scalars(
                    text("SELECT id FROM job_item WHERE lease_owner = :name AND state = 'pending'"), {"name": self.name}
                )
            )


def archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as file:
        for seed in range(IMAGES):
            file.writestr(f"{seed}.jpg", image_bytes(seed))
    return packed.getvalue()


def states(items: set[UUID]) -> dict[str, int]:
    with transaction() as session:
        rows = session.execute(
            text("SELECT state, count(*) FROM job_item WHERE id = ANY (:ids) GROUP BY 1"), {"ids": list(items)}
        )
        return {row.state: row.count for row in rows}


def test_a_host_that_is_cut_off_in_mid_import_takes_nothing_with_it(
    redis: Redis, bucket: tuple[str, int], tmp_path: Path
) -> None:
    here = {**BLOBS, "AWS_ENDPOINT_URL": "http://{}:{}".format(*bucket)}
    port = free_port()
    with ExitStack() as held:
        api = Process("api", log=tmp_path / "api.log", UMBEL_PORT=str(port), UMBEL_API_PROCESSES="1", **here)
        held.callback(api.kill)
        scheduler = Process("scheduler", log=tmp_path / "scheduler.log", UMBEL_SWEEP_SECONDS="1", **here)
        held.callback(scheduler.kill)
        hosts = [Host(number, bucket, tmp_path, held) for number in (1, 2, 3)]
        eventually(lambda: all(alive(host.name) for host in hosts), within=120)
        service = held.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60))
        files = {"file": ("pictures.zip", archive())}
        job_id = (
            service.post("/v1/imports", files=files, data={"collection": "meadow"}).raise_for_status().json()["job_id"]
        )
        lost = eventually(hosts[2].holds, within=60, every=0.01)
        hosts[2].cut_off()
        assert service.get(f"/v1/jobs/{job_id}").json()["status"] == "running"
        job = eventually(lambda: finished(service, job_id), within=120)
        assert job["counts"] == {
            "total": IMAGES, "indexed": IMAGES, "pending": 0, "failed": 0, "duplicate": 0, "cancelled": 0
        }  # fmt: skip
        assert states(lost) == {"indexed": len(lost)}
        command = [*UMBEL, "reconcile", "--deep", "--json"]
        compared = subprocess.run(command, env={**os.environ, **here}, capture_output=True, text=True, check=False)
        amiss = {check["code"]: check["found"] for check in json.loads(compared.stdout)["checks"] if check["found"]}
        assert amiss == {}


def finished(service: httpx.Client, job_id: str) -> dict[str, dict[str, int]]:
    job = service.get(f"/v1/jobs/{job_id}?wait=20").json()
    return job if job["finished_at"] else {}
