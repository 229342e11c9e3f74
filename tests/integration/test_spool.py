"""`umbel api` on a disk that is full: large requests are told so, and everything else goes on."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from stack.postgres import Postgres
from stack.redis import Redis
from tests.images import image_bytes
from tests.integration.imports.archives import zipped
from tests.integration.test_server import Api
from tests.integration.uploads import add_image
from tests.processes import can_mount, with_disk
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.gallery.upload import Upload

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("database")]

# Python is told of a file that grows beyond a limit as it is of a full disk.
LIMITED = ("sh", "-c", 'ulimit -f 4096; exec "$@"', "sh")  # 2 or 4 MiB, by the shell
SMALL_DISK = with_disk("$UMBEL_HOME/spool", "size=4m")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(LIMITED, id="limited"),
        pytest.param(SMALL_DISK, id="small", marks=pytest.mark.skipif(not can_mount(), reason="needs mount(2)")),
    ],
)
def api(
    postgres: Postgres, redis: Redis, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Api]:
    process = Api(tmp_path_factory.mktemp("api") / "log", patience=20, inside=request.param)
    yield process
    assert process.stop() == 0
    assert "unexpected error" not in process.log.read_text()
    assert "Traceback" not in process.log.read_text()


@contextmanager
def unharmed(api: Api) -> Iterator[httpx.Client]:
    """A client, for whom the processes of the API stay the same and take what is small."""
    before = {child.pid for child in psutil.Process(api.pid).children()}
    with httpx.Client(base_url=f"http://127.0.0.1:{api.port}", trust_env=False, timeout=30) as client:
        yield client
        files = {"file": ("a.jpg", image_bytes(7), "image/jpeg")}
        assert client.post("/v1/images", files=files).status_code in (200, 202)
        assert api.answers()
    assert {child.pid for child in psutil.Process(api.pid).children()} == before


@pytest.mark.parametrize(("path", "megabytes"), [("/v1/images", 15), ("/v1/imports", 60), ("/v1/search", 15)])
@pytest.mark.parametrize("chunked", [False, True])
def test_what_finds_no_room_is_told_so(api: Api, path: str, megabytes: int, chunked: bool) -> None:
    with unharmed(api) as client:
        large = image_bytes(1) + os.urandom(2**20) * megabytes
        request = client.build_request("POST", path, files={"file": ("large.jpg", large)})
        if chunked:
            body = request.read()
            headers = {"Content-Type": request.headers["Content-Type"]}
            parts = (body[at : at + 2**18] for at in range(0, len(body), 2**18))
            request = client.build_request("POST", path, content=parts, headers=headers)
        answer = client.send(request)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(("The server has no room for the request.", "The request has "))


def test_what_is_announced_too_large_is_told_before_it_is_sent(api: Api, request: pytest.FixtureRequest) -> None:
    if "limited" in request.node.name:
        pytest.skip("the disk is large")
    head = "POST /v1/imports HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with unharmed(api), socket.create_connection(("127.0.0.1", api.port), timeout=30) as wire:
        wire.sendall(f"{head}Content-Length: {2**34}\r\n\r\n".encode())
        answer = wire.makefile("rb").read().decode()
    assert " 507 " in answer.splitlines()[0]
    assert f"The request has {2**34:,} bytes, and where requests wait (UMBEL_SPOOL) there is room for " in answer


def test_many_at_once_are_all_answered(api: Api) -> None:
    with unharmed(api) as client, ThreadPoolExecutor(8) as pool:
        large = {"file": ("large.jpg", image_bytes(1) + os.urandom(2**20) * 15)}
        answers = [pool.submit(client.post, "/v1/images", files=large) for _ in range(16)]
        assert {answer.result().status_code for answer in answers} == {507}


def test_large_images_are_served(api: Api, request: pytest.FixtureRequest) -> None:
    noise = BytesIO()
    Image.frombytes("RGB", (1600, 1600), os.urandom(1600 * 1600 * 3)).save(noise, "PNG")
    image = add_image(transaction, blobs(), settings(), Upload(noise.getvalue())).image_id
    with unharmed(api) as client:
        answer = client.get(f"/v1/images/{image}/file")
    if "limited" in request.node.name:  # what is made of an image is a file, too
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    else:
        assert answer.status_code == 200
        assert Image.open(BytesIO(answer.content)).tobytes() == Image.open(noise).tobytes()


@pytest.mark.skipif(not can_mount(), reason="needs mount(2)")
def test_an_archive_takes_its_room_once_on_a_disk_that_requests_and_blobs_share(
    postgres: Postgres, redis: Redis, tmp_path: Path
) -> None:
    spool = settings().home / "spool"
    shared = {"UMBEL_BLOB_URL": str(spool / "blobs"), "UMBEL_MIN_FREE_BYTES": str(2**20)}
    process = Api(tmp_path / "log", patience=20, inside=with_disk(str(spool), "size=48m"), **shared)
    try:
        archive = zipped(**{"a/1.jpg": image_bytes(1), "filler.bin": os.urandom(32 * 2**20)})
        files = {"file": ("a.zip", archive)}
        answers = [httpx.post(f"{process.url}/v1/imports", files=files, trust_env=False, timeout=60) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 507], answers[0].text
    finally:
        process.stop()
