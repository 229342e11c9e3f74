"""Pictures from a real server: framing of HEAD and ranges, and the memory of its processes."""

import http.client
import io
import os
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from stack.postgres import Postgres
from stack.redis import Redis
from tests.images import image_bytes, published, thumbnail
from tests.integration.test_server import Api
from tests.integration.uploads import add_image
from tests.processes import eventually
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.gallery.upload import Upload

MOST = 400 * 10**6  # bytes of the API's processes, their decoders apart

pytestmark = pytest.mark.usefixtures("database")


def uploaded(server: Api, data: bytes) -> str:
    answer = httpx.post(f"http://127.0.0.1:{server.port}/v1/images", files={"file": ("a", data)}, timeout=60)
    return f"/v1/images/{answer.json()['image_id']}/file"


def test_answers_follow_one_another_on_a_connection(server: Api) -> None:
    path = uploaded(server, image_bytes(7, size=(640, 480)))
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        unknown = client.head(path)
        whole = client.get(path)
        known = client.head(path)
        part = client.get(path, headers={"Range": "bytes=10-19"})
        again = client.get(path)
    assert [each.status_code for each in (unknown, whole, known, part, again)] == [200, 200, 200, 206, 200]
    assert (unknown.headers.get("Content-Length"), known.headers["Content-Length"]) == (None, str(len(whole.content)))
    assert (part.content, again.content) == (whole.content[10:20], whole.content)


@pytest.mark.slow
def test_what_is_made_in_memory_is_sent_and_freed(postgres: Postgres, redis: Redis, tmp_path: Path) -> None:
    """On a disk with less room than is to stay free."""
    data = image_bytes(8, size=(1600, 1200))
    image_id = add_image(transaction, blobs(), settings(), Upload(data)).image_id
    server = Api(tmp_path / "log", UMBEL_MIN_FREE_BYTES=str(2**60))
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}/v1/images/{image_id}", timeout=60) as client:
        whole = client.get("/file")
        part = client.get("/file", headers={"Range": "bytes=10-19"})
        small = [client.get("/thumbnail").content for _ in range(20)]
    assert whole.content == published(data, settings())
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert set(small) == {thumbnail(data, settings())}
    eventually(lambda: not files_in_memory(server))
    server.stop()
    assert server.log.read_text().count("a rendition is made in memory") == 22


def files_in_memory(server: Api) -> list[str]:
    """Those that its processes have open."""
    names = []
    for child in psutil.Process(server.pid).children():
        for file in Path(f"/proc/{child.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed by now
                names.append(os.readlink(file))
    return [name for name in names if name.startswith("/memfd:rendition")]


@pytest.mark.slow
def test_large_pictures_are_never_in_the_memory_of_the_api(server: Api) -> None:
    """Three GETs of one such PNG brought it to 1.5 GB."""
    pixels = np.full((5475, 7300, 4), 200, np.uint8)
    pixels[:600] = np.random.default_rng(0).integers(0, 256, pixels[:600].shape, dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    path = uploaded(server, out.getvalue())
    most = 0
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(fetched, server.port, path) for _ in range(48)]
        while wait(answers, timeout=0.05).not_done:
            most = max(most, memory(server))
    assert len({answer.result() for answer in answers}) == 1
    assert 0 < most < MOST


def fetched(port: int, path: str) -> int:
    """Bytes received."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    return sum(map(len, iter(lambda: answer.read(2**16), b"")))


def memory(server: Api) -> int:
    """The proportional set size of its processes, in bytes."""
    process = psutil.Process(server.pid)
    ours = [process, *process.children()]  # the decoders are their children
    return sum(each.memory_full_info().pss for each in ours)
