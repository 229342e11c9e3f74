"""What is handed out of an image is made once, by a decoder, kept, and served as RFC 9110 says."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from flask.testing import FlaskClient
from werkzeug.http import http_date, parse_date
from werkzeug.test import TestResponse

from api import renditions as api_renditions
from api import rooms
from api.decoding import decoders, looked_at
from api.rooms import Room
from tests.images import image_bytes, published, thumbnail
from tests.integration.test_api import assert_problem
from tests.integration.uploads import add_image, post_image
from tests.processes import can_mount, eventually, with_disk
from tests.traps import CRASHING
from umbel.base.blobs import Blobs, blobs
from umbel.base.database import transaction
from umbel.base.errors import Busy, DecoderDied
from umbel.base.locks import one_on_this_machine
from umbel.base.settings import settings
from umbel.decoding.pool import DecoderPool
from umbel.gallery import images
from umbel.gallery import renditions as renditions_module
from umbel.gallery.blob_cleanups import rendition_key
from umbel.gallery.images import ImageRow
from umbel.gallery.renditions import LOCKS, PICTURE, THUMBNAIL, Renditions
from umbel.gallery.upload import Upload

SECONDS = 20

pytestmark = pytest.mark.usefixtures("database", "redis")


@pytest.fixture
def data(request: pytest.FixtureRequest) -> bytes:
    """A picture of the test's own: the blob store outlives it."""
    return image_bytes(crc32(request.node.name.encode()), size=(640, 480))


@pytest.fixture
def path(api: FlaskClient, data: bytes) -> str:
    """Of the file of an image."""
    return f"/v1/images/{post_image(api, data).get_json()['image_id']}/file"


@pytest.fixture
def whole(api: FlaskClient, path: str) -> TestResponse:
    return api.get(path)


@pytest.fixture
def image(data: bytes) -> ImageRow:
    accepted = add_image(transaction, blobs(), settings(), Upload(data))
    with transaction() as session:
        return images.get_image(session, accepted.image_id)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The blobs that any decoder was given, in order."""
    seen: list[str] = []
    submit = DecoderPool.submit

    def watched(self: DecoderPool, job: str, image: Any, *rest: Any, **options: Any) -> Any:
        seen.append(image)
        return submit(self, job, image, *rest, **options)

    monkeypatch.setattr(DecoderPool, "submit", watched)
    return seen


def image_of(path: str) -> ImageRow:
    with transaction() as session:
        return images.get_image(session, path.split("/")[3])  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["file", "thumbnail"])
def test_it_is_made_once_and_needs_no_original_then(api: FlaskClient, path: str, data: bytes, part: str) -> None:
    path = path.replace("file", part)
    first = api.get(path)
    blobs().delete(image_of(path).blob_key)
    again = api.get(path)
    assert (first.status_code, again.status_code, again.data) == (200, 200, first.data)
    assert part == "thumbnail" or first.data == published(data, settings())
    assert again.content_length == len(first.data)


def test_requests_at_once_make_it_once(image: ImageRow, data: bytes, made: list[str]) -> None:
    """Each with decoders of its own, as processes have."""
    with DecoderPool(1, settings()) as ours, DecoderPool(1, settings()) as theirs, ThreadPoolExecutor(8) as threads:
        pools = [lambda: ours, lambda: theirs]
        processes = [Renditions(transaction, blobs(), each) for each in pools]

        def read(number: int) -> bytes:
            with processes[number % 2].open(image, PICTURE) as file:
                return file.read()

        assert set(threads.map(read, range(16))) == {published(data, settings())}
    assert made == [image.blob_key]


RANGES = {
    "bytes=0-9": (0, 10),
    "bytes=100-": (100, None),
    "bytes=-7": (-7, None),
    "bytes=5-999999999": (5, None),
}


@pytest.mark.parametrize("asked", RANGES)
def test_a_range(api: FlaskClient, path: str, whole: TestResponse, asked: str) -> None:
    answer = api.get(path, headers={"Range": asked})
    start, end = RANGES[asked]
    assert (answer.status_code, answer.data) == (206, whole.data[start:end])
    first = start % len(whole.data)
    assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(answer.data) - 1}/{len(whole.data)}"


def test_a_range_behind_the_end(api: FlaskClient, path: str, whole: TestResponse) -> None:
    answer = api.get(path, headers={"Range": f"bytes={len(whole.data)}-"})
    assert_problem(answer, 416, "requested_range_not_satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{len(whole.data)}"


@pytest.mark.parametrize("asked", ["bytes=9-2", "bytes=0-1,5-6", "lines=0-1", "bytes", "bytes=a-b"])
def test_ranges_that_need_not_be_understood(api: FlaskClient, path: str, whole: TestResponse, asked: str) -> None:
    answer = api.get(path, headers={"Range": asked})
    assert (answer.status_code, answer.data) == (200, whole.data)


def test_a_range_of_what_has_not_changed(api: FlaskClient, path: str, whole: TestResponse) -> None:
    then = parse_date(whole.headers["Last-Modified"])
    assert then
    etag = whole.headers["ETag"]
    for unchanged, status in {
        whole.headers["Last-Modified"]: 206,
        http_date(then - timedelta(days=1)): 200,
        etag: 200,  # weak: it says nothing of single bytes
        '"other"': 200,
    }.items():
        assert api.get(path, headers={"Range": "bytes=0-9", "If-Range": unchanged}).status_code == status, unchanged


def test_what_the_caller_has_is_not_sent_or_made(api: FlaskClient, path: str, made: list[str]) -> None:
    made.clear()
    etag = api.head(path).headers["ETag"]
    strong = etag.removeprefix("W/")
    assert etag == f"W/{strong}"
    for known in (etag, strong, f'"other", {strong}', "*"):  # the weak comparison takes both for the same
        answer = api.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.data) == (304, b""), known
    assert api.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert made == [image_of(path).blob_key]


def test_head_makes_and_opens_nothing(api: FlaskClient, path: str, made: list[str], monkeypatch: Any) -> None:
    made.clear()
    first = api.head(path)
    assert (first.status_code, first.content_type, first.content_length) == (200, "image/jpeg", None)
    assert made == []
    whole = api.get(path)
    monkeypatch.setattr(Blobs, "open", None)
    again = api.head(path)
    assert (again.status_code, again.content_length, again.data) == (200, len(whole.data), b"")


def test_what_cannot_be_decoded_any_more_is_a_problem(api: FlaskClient, path: str) -> None:
    key = image_of(path).blob_key
    blobs().put(key, b"RIFF\x10\0\0\0WEBPVP8 damaged")
    assert_problem(api.get(path), 415, "corrupt_image")
    blobs().delete(key)
    assert_problem(api.get(path), 404, "blob_missing")


def test_an_image_that_kills_its_decoder_kills_one(monkeypatch: pytest.MonkeyPatch, made: list[str]) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{CRASHING}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    accepted = add_image(transaction, blobs(), settings(), Upload(image_bytes(4, comment=b"crash")))
    with transaction() as session:
        image = images.get_image(session, accepted.image_id)
    with DecoderPool(1, settings()) as pool:
        renditions = Renditions(transaction, blobs(), lambda: pool)
        for _ in range(2):
            with pytest.raises(DecoderDied, match="SIGSEGV"):
                renditions.open(image, PICTURE)
    assert made == [image.blob_key]


def test_a_full_store_keeps_nothing_and_shows_it_all_the_same(image: ImageRow, data: bytes) -> None:
    full = Blobs(settings().blobs, min_free=2**60)
    with Renditions(transaction, full, decoders).open(image, PICTURE) as file:
        assert file.read() == published(data, settings())
    assert not full.exists(rendition_key(image.blob_key, PICTURE.folder))


FULL = """
import shutil, sys
from pathlib import Path
from uuid import UUID
from umbel.base.blobs import Blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.decoding.pool import DecoderPool
from umbel.gallery import images
from umbel.gallery.renditions import PICTURE, THUMBNAIL, Renditions
_, disk, original, number = sys.argv
with transaction() as session:
    image = images.get_image(session, UUID(number))
store = Blobs(Path(disk).as_uri())
store.put(image.blob_key, Path(original).read_bytes())
try:
    with Path(disk, "fill").open("wb", buffering=0) as fill:
        while True:
            fill.write(bytes(4096))
except OSError:
    assert shutil.disk_usage(disk).free == 0
with DecoderPool(1, settings().model_copy(update={"blob_url": Path(disk).as_uri()})) as pool:
    renditions = Renditions(transaction, store, lambda: pool)
    for each in (PICTURE, THUMBNAIL):
        with renditions.open(image, each) as file:
            print(len(file.read()), file.fileno() > 0, renditions.size(image, each), file=sys.stderr)
"""


@pytest.mark.skipif(not can_mount(), reason="needs root and mount namespaces")
@pytest.mark.parametrize("options", ["size=1m", "size=1m,nr_inodes=6"], ids=["bytes", "files"])
def test_a_full_disk_takes_no_picture_away(image: ImageRow, data: bytes, tmp_path: Path, options: str) -> None:
    original, disk = tmp_path / "original", str(tmp_path / "disk")
    original.write_bytes(data)
    done = subprocess.run(
        [*with_disk(disk, options), sys.executable, "-c", FULL, disk, str(original), str(image.id)],
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    sizes = [len(made(data, settings())) for made in (published, thumbnail)]
    # A server can send from a file of the system without a thread; nothing is stored.
    assert done.stderr.splitlines() == [f"{size} True None" for size in sizes], done.stdout


def test_memory_for_what_the_disk_has_no_room_for_is_bounded(monkeypatch: pytest.MonkeyPatch, image: ImageRow) -> None:
    monkeypatch.setattr(renditions_module, "IN_MEMORY", 100)
    full = Renditions(transaction, Blobs(settings().blobs, min_free=2**60), decoders)
    with full.open(image, PICTURE), pytest.raises(Busy, match="memory"):
        full.open(image, THUMBNAIL)
    full.open(image, THUMBNAIL).close()


def test_nothing_is_kept_of_an_image_that_is_removed_meanwhile(image: ImageRow) -> None:
    def removing() -> DecoderPool:
        with transaction() as session:
            images.delete_images(session, [image.id])
        return decoders()

    renditions = Renditions(transaction, blobs(), removing)
    renditions.open(image, THUMBNAIL).close()
    assert renditions.size(image, THUMBNAIL) is None


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Room]]:
    """The places of the API to wait at: one for small images, and one for large ones."""
    places = {"small": Room(1, 0.0, "small"), "large": Room(1, 0.0, "large")}
    monkeypatch.setattr(rooms, "decodes", lambda: places["small"])
    monkeypatch.setattr(rooms, "large_decodes", lambda: places["large"])
    api_renditions._renditions.cache_clear()
    yield places
    api_renditions._renditions.cache_clear()


@pytest.mark.parametrize("size", ["small", "large"])
def test_who_waits_for_the_same_to_be_made_has_a_place(image: ImageRow, places: dict[str, Room], size: str) -> None:
    """Else such requests could hold all threads of the API, for as long as a decoder may take."""
    small, large = image, replace(image, width=4000, height=3000)
    waited, other = (small, large) if size == "small" else (large, small)
    renditions = api_renditions._renditions()
    key = rendition_key(image.blob_key, PICTURE.folder)
    with ThreadPoolExecutor(1) as threads:
        with one_on_this_machine(f"rendition-{crc32(key.encode()) % LOCKS}"):  # it is being made
            waiting = threads.submit(renditions.open, waited, PICTURE)
            eventually(lambda: places[size]._since)
            with pytest.raises(Busy, match=size):
                renditions.open(waited, PICTURE)
            renditions.open(other, THUMBNAIL).close()
        waiting.result(SECONDS).close()
    renditions.open(waited, PICTURE).close()
    assert not any(room._since for room in places.values())


def test_who_finds_no_place_is_told_when_to_come_again(api: FlaskClient, path: str, places: dict[str, Room]) -> None:
    with places["small"].place():
        answer = api.get(path)
    assert_problem(answer, 503, "busy")
    assert int(answer.headers["Retry-After"]) > 0
    assert api.get(path).status_code == 200


def test_a_place_is_free_again_when_nothing_could_be_handed_over(
    places: dict[str, Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(DecoderPool, "submit", submit)
    with pytest.raises(RuntimeError):
        looked_at(image_bytes(kind="webp"))
    assert not places["small"]._since
