"""Archives larger than what is held in memory: written where requests wait, once, and read from there."""

from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.images import image_bytes
from tests.integration.imports.archives import counts, zipped
from umbel.base.settings import settings

pytestmark = pytest.mark.usefixtures("database", "redis")

Usage = namedtuple("Usage", "total used free")
BOUNDARY = "a--b"


def body(archive: bytes, line_end: bytes = b"\r\n") -> bytes:
    """A form with a field before its file and one behind it."""
    lines = [
        f"--{BOUNDARY}".encode(),
        b'Content-Disposition: form-data; name="collection"',
        b"",
        b"before",
        f"--{BOUNDARY}".encode(),
        b'Content-Disposition: form-data; name="file"; filename="a.zip"',
        b"",
        archive,
        f"--{BOUNDARY}".encode(),
        b'Content-Disposition: form-data; name="label_from_folder"',
        b"",
        b"true",
        f"--{BOUNDARY}--".encode(),
        b"",
    ]
    return line_end.join(lines)


@pytest.fixture
def written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.request.spool_file", lambda: pytest.fail("It is written a second time."))


def posted(api: FlaskClient, path: Path, content: bytes) -> TestResponse:
    """As the server hands it over: the body lies in a file."""
    path.write_bytes(content)
    with path.open("r+b") as lies:
        return api.post(
            "/v1/imports",
            input_stream=lies,
            content_type=f"multipart/form-data; boundary={BOUNDARY}",
            content_length=len(content),
        )


@pytest.fixture
def large() -> bytes:
    """A zip too large to be held in memory, with bytes that look like parts of a form."""
    filler = f"\r\n--{BOUNDARY[:-1]}\r\n\r\n".encode() * (settings().max_bytes // 4)
    return zipped(**{"a/1.jpg": image_bytes(1), "filler.txt": filler})


@pytest.mark.usefixtures("written_once")
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_an_archive_is_read_where_its_request_lies(
    api: FlaskClient, fetch: Any, tmp_path: Path, large: bytes, line_end: bytes
) -> None:
    answer = posted(api, tmp_path / "body", body(large, line_end))
    assert answer.status_code == 202, answer.text
    fetch()
    assert counts(api, answer.get_json()["job_id"]) == {"pending": 1}
    [image] = api.get("/v1/images?collection=before").get_json()["items"]
    assert image["label"] == "a"


def test_an_archive_for_which_the_blob_store_has_no_room_is_told_so(
    api: FlaskClient, tmp_path: Path, large: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umbel.base.blobs.shutil.disk_usage", lambda _: Usage(2**40, 0, 2**29 + len(large) // 2))
    monkeypatch.setattr("api.spool.PartOfFile.spend", lambda *_: False)  # as on another disk
    answer = posted(api, tmp_path / "body", body(large))
    assert (answer.status_code, answer.get_json()["code"]) == (507, "storage_full")
    assert f"there is no room for {len(large):,}" in answer.get_json()["detail"]
    assert not list(Path(settings().home, "blobs", "imports").glob("*"))


def test_an_archive_has_its_room_once_where_the_blob_store_is_on_the_same_disk(
    api: FlaskClient, fetch: Any, tmp_path: Path, large: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umbel.base.blobs.shutil.disk_usage", lambda _: Usage(2**40, 0, 2**29))
    answer = posted(api, tmp_path / "body", body(large))
    assert answer.status_code == 202, answer.text
    [stored] = Path(settings().home, "blobs", "imports").glob("*")
    assert stored.read_bytes() == large
    left = (tmp_path / "body").stat()
    assert (left.st_size == len(body(large)), left.st_blocks * 512 < len(large) // 8) == (True, True)
    fetch()
    assert counts(api, answer.get_json()["job_id"]) == {"pending": 1}
