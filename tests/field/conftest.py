"""One API, one worker, one bucket for the tests of a file."""

from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import httpx
import pytest

from stack.redis import Redis
from tests.field.ways import BUCKET, Service
from tests.integration.workers import alive
from tests.processes import Process, eventually, free_port
from tests.s3_server import s3_server

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The endpoint of an S3 server that has one bucket."""
    with s3_server() as endpoint:
        yield endpoint
        urlopen(Request(f"{endpoint}/moto-api/reset", method="POST")).close()


@pytest.fixture(scope="module")
def service(
    redis: Redis, shared_gallery: None, bucket: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    home, port = tmp_path_factory.mktemp("field"), free_port()
    environment = {
        "UMBEL_PORT": str(port),
        "UMBEL_API_PROCESSES": "1",
        "UMBEL_IMPORT_ROOTS": f"{home},s3://{BUCKET}",
        "UMBEL_S3_ENDPOINT": bucket,
        **CREDENTIALS,
    }
    processes = [
        Process("worker", "--name", "field", log=home / "worker.log", **environment),
        Process("api", log=home / "api.log", **environment),
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        made = Service(f"http://127.0.0.1:{port}", home, bucket)
        made.s3.create_bucket(Bucket=BUCKET)
        eventually(lambda: _ready(made) and alive("field"), within=90)
        yield made
    for process in processes:
        process.stop()


def _ready(service: Service) -> bool:
    try:
        return service.http.get("/healthz").is_success
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def folder(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty one that the service may read."""
    return service.home
