"""A bucket as a source of imports, against a real S3 server (moto's), and against one that only knows trouble."""

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.images import image_bytes
from tests.integration.imports.followed import Followed
from tests.unit.umbel.imports.sources.listing import assert_resumes, contents, rejected, skipped, taken
from umbel.base.blobs import Blobs, blobs_of
from umbel.base.errors import BlobMissing, FileTooLarge, SourceError, TransientError, Unreadable, UnsafePath
from umbel.base.in_place import in_place_key
from umbel.base.settings import Settings
from umbel.imports.sources import Entry, FilesInPlace, ManifestSource, S3Source, Source, open_source, receive_manifest


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_SKIP_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def client(endpoint: str) -> Iterator[Any]:
    """A client of the server, with an empty bucket "photos"."""
    s3 = boto3.client("s3", endpoint_url=endpoint)
    s3.create_bucket(Bucket="photos")
    yield s3
    urlopen(Request(f"{endpoint}/moto-api/reset", method="POST")).close()


def opened(
    endpoint: str,
    url: str = "s3://photos/2024",
    root: str = "s3://photos/2024",
    *,
    include_hidden: bool = False,
    **settings: Any,
) -> Source:
    spec = S3Source(url=url, include_hidden=include_hidden)
    return open_source(spec, Blobs("memory:///"), Settings(import_roots=(root,), s3_endpoint=endpoint, **settings))


def put(client: Any, *keys: str, data: bytes = image_bytes(1)) -> None:
    for key in keys:
        client.put_object(Bucket="photos", Key=key, Body=data)


def test_pictures_below_the_prefix_are_listed_in_order(client: Any, endpoint: str) -> None:
    put(client, "2024/b.jpg", "2024/a/z.png", "2024/a.jpg", "2024-old/c.jpg", "d.jpg")
    assert taken(opened(endpoint)) == ["a.jpg", "a/z.png", "b.jpg"]


def test_every_entry_can_be_read_from_its_locator(client: Any, endpoint: str) -> None:
    names = ["a b.jpg", "ä%41+.jpg", "d/c#1~*.jpg", "e?x=1&y.jpg"]
    for number, name in enumerate(names):
        put(client, f"2024/{name}", data=image_bytes(number))
    assert contents(opened(endpoint)) == {name: image_bytes(number) for number, name in enumerate(names)}


def test_many_threads_read_at_once(client: Any, endpoint: str) -> None:
    for number in range(10):
        put(client, f"2024/{number}.jpg", data=bytes([number]) * 1000)
    source = opened(endpoint)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(source.read, [f"{number}.jpg" for number in range(10)] * 5))
    assert found == [bytes([number]) * 1000 for number in range(10)] * 5


@pytest.mark.slow
def test_a_listing_of_several_pages_is_complete_and_resumed_at_their_border(
    client: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    names = [f"{number:02}.jpg" for number in range(25)]
    put(client, *(f"2024/{name}" for name in names), data=b"x")
    assert client.list_objects_v2(Bucket="photos")["KeyCount"] == 10
    source = opened(endpoint)
    assert taken(source) == names
    assert [each.name for each in source.entries("09.jpg")] == names[10:]


@given(
    keys=st.sets(st.text(st.sampled_from("ab /-~%+é#."), min_size=1, max_size=6), max_size=8).map(
        lambda keys: {f"2024/{key}.jpg" for key in keys if not {"", ".", ".."} & set(f"{key}.jpg".split("/"))}
    )
)
@examples(25)
def test_a_listing_can_be_resumed_anywhere(keys: set[str], client: Any, endpoint: str) -> None:
    for found in client.list_objects_v2(Bucket="photos").get("Contents", []):
        client.delete_object(Bucket="photos", Key=found["Key"])
    put(client, *keys, data=b"x")
    source = opened(endpoint)
    assert {f"2024/{each.name}" for each in source.entries()} == keys
    assert_resumes(source)


def test_what_is_no_picture_is_passed_over(client: Any, endpoint: str) -> None:
    put(client, "2024/a.txt", "2024/.hidden.jpg", "2024/nameless")
    put(client, "2024/folder/", data=b"")
    assert skipped(opened(endpoint)) == [".hidden.jpg", "a.txt", "folder"]
    assert taken(opened(endpoint)) == ["nameless"]


def test_objects_without_a_pictures_suffix_are_known_by_their_first_bytes(client: Any, endpoint: str) -> None:
    put(client, "2024/a.dat", "2024/photo.jpg_large", "2024/nameless")
    put(client, "2024/b.dat", "2024/c.mp", data=b"something else")
    put(client, "2024/d.jxl", "2024/e", data=b"\xff\x0a" + bytes(20))  # a picture, which reading will refuse
    assert taken(opened(endpoint)) == ["a.dat", "d.jxl", "e", "nameless", "photo.jpg_large"]
    assert skipped(opened(endpoint)) == ["b.dat", "c.mp"]


def test_what_programs_keep_beside_pictures_is_taken_if_asked_for(client: Any, endpoint: str) -> None:
    put(client, "2024/@eaDir/a.jpg/THUMB.jpg", "2024/.b.jpg", "2024/c.jpg")
    assert taken(opened(endpoint)) == ["c.jpg"]
    assert taken(opened(endpoint, include_hidden=True)) == [".b.jpg", "@eaDir/a.jpg/THUMB.jpg", "c.jpg"]


def test_too_large_an_object_is_refused_unread(client: Any, endpoint: str) -> None:
    put(client, "2024/a.jpg", data=b"x" * 101)
    source = opened(endpoint, max_bytes=100)
    assert rejected(source) == {"a.jpg": "file_too_large"}
    with pytest.raises(FileTooLarge):
        source.read("a.jpg")


def test_a_key_that_is_gone_is_unreadable(client: Any, endpoint: str) -> None:
    with pytest.raises(Unreadable):
        opened(endpoint).read("gone.jpg")


@pytest.mark.parametrize("locator", ["../secret.jpg", "a/%2E%2E/%2E%2E/b.jpg", "/a.jpg", ""])
def test_a_locator_cannot_lead_out(locator: str, client: Any, endpoint: str) -> None:
    put(client, "secret.jpg")
    with pytest.raises(UnsafePath):
        opened(endpoint).read(locator)


def test_a_bucket_that_is_not_there_is_said_not_to_be(endpoint: str) -> None:
    with pytest.raises(SourceError, match="no such bucket"):
        list(opened(endpoint, "s3://nowhere", "s3://nowhere").entries())


def test_a_key_that_is_no_path_is_named(client: Any, endpoint: str) -> None:
    put(client, "2024/a//b.jpg")
    with pytest.raises(SourceError, match=r"2024/a//b\.jpg"):
        list(opened(endpoint).entries())


@pytest.mark.parametrize(
    "url",
    [
        "s3://photos",
        "s3://photos/20",
        "s3://photos/2024-old",
        "s3://photos/2024/../x",
        "s3://other/2024",
        "s3://",
        "2024",
    ],
)
def test_only_what_lies_below_a_root_is_opened(url: str, endpoint: str) -> None:
    with pytest.raises(SourceError):
        opened(endpoint, url)


@pytest.mark.parametrize(
    ("url", "root"), [("s3://photos/2024/may/", "s3://photos/2024/"), ("s3://photos/x", "s3://photos")]
)
def test_whatever_lies_below_a_root_is_opened(url: str, root: str, client: Any, endpoint: str) -> None:
    assert taken(opened(endpoint, url, root)) == []


def test_a_manifest_may_have_a_prefix_as_its_base(client: Any, endpoint: str, tmp_path: Path) -> None:
    put(client, "2024/d/a.jpg")
    blobs = Blobs(tmp_path.as_uri())
    rows = b"path\nd/a.jpg\ns3://photos/2024/d/a.jpg\n../b.jpg\nd\\a.jpg\n"
    receive_manifest(io.BytesIO(rows), blobs, "m", Settings())
    spec = ManifestSource(blob_key="m", base="s3://photos/2024")
    source = open_source(spec, blobs, Settings(import_roots=("s3://photos/2024",), s3_endpoint=endpoint))
    assert contents(source) == {"d/a.jpg": image_bytes(1)}
    assert rejected(source) == {"../b.jpg": "unsafe_path"}


@pytest.mark.usefixtures("database", "redis")
def test_a_prefix_is_followed(client: Any, endpoint: str, followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = {"import_roots": ("s3://photos",), "s3_endpoint": endpoint}
    followed.config = followed.config.model_copy(update=roots)
    monkeypatch.setattr("api.syncs.settings", lambda: followed.config)
    for number, key in enumerate(("2024/a.jpg", "2024/b.jpg", "2024/c.jpg", "2025/d.jpg")):
        put(client, key, data=image_bytes(number))
    followed.add(source={"type": "s3", "url": "s3://photos/2024"})
    assert followed.report() == {"new": 3}
    before = followed.images()
    put(client, "2024/a.jpg", data=image_bytes(7))
    client.delete_object(Bucket="photos", Key="2024/b.jpg")
    put(client, "2024/moved/b.jpg", data=image_bytes(1))
    client.delete_object(Bucket="photos", Key="2024/c.jpg")
    assert followed.report() == {"changed": 1, "renamed": 1, "vanished": 1}
    assert followed.images()["moved/b.jpg"]["image_id"] == before["b.jpg"]["image_id"]
    assert followed.trash() == {"a.jpg", "c.jpg"}
    followed.config = followed.config.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    assert followed.run()["error"]
    assert set(followed.images()) == {"a.jpg", "moved/b.jpg"}


def test_an_object_that_stays_in_place_is_read_in_the_version_that_was_imported(client: Any, endpoint: str) -> None:
    put(client, "2024/d/ä#.jpg")
    settings = Settings(import_roots=("s3://photos/2024",), s3_endpoint=endpoint)
    source = opened(endpoint)
    assert isinstance(source, FilesInPlace)
    [entry] = source.entries()
    assert isinstance(entry, Entry)
    data, location = source.read_original(entry.locator)
    assert (data, location) == (image_bytes(1), entry.location)
    key, store = in_place_key("default", sha256(data).digest(), location), blobs_of(settings)
    assert (store.get(key), store.size(key), store.open(key).read()) == (data, len(data), data)
    store.delete(key)
    put(client, "2024/d/ä#.jpg", data=image_bytes(2))
    for read in (store.get, store.size, lambda key: store.get_range(key, 0, 9)):
        with pytest.raises(BlobMissing, match="has changed"):
            read(key)
    client.delete_object(Bucket="photos", Key="2024/d/ä#.jpg")
    with pytest.raises(BlobMissing, match="is gone"):
        store.get(key)
    elsewhere = blobs_of(Settings(import_roots=("s3://photos/2025",), s3_endpoint=endpoint))
    with pytest.raises(BlobMissing, match="import root"):
        elsewhere.get(key)


class Trouble(ThreadingHTTPServer):
    """Answers every request with the same status and the same S3 error code."""

    daemon_threads = True
    status, code = 500, "InternalError"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), TroubleHandler)


class TroubleHandler(BaseHTTPRequestHandler):
    server: Trouble

    def do_GET(self) -> None:
        body = f"<Error><Code>{self.server.code}</Code></Error>".encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def trouble() -> Iterator[Trouble]:
    with Trouble() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


@pytest.mark.parametrize(
    ("status", "code", "listing", "reading"),
    [
        (503, "SlowDown", TransientError, TransientError),
        (500, "InternalError", TransientError, TransientError),
        (429, "TooManyRequests", TransientError, TransientError),
        (403, "AccessDenied", SourceError, Unreadable),
        (301, "PermanentRedirect", SourceError, TransientError),
        (400, "InvalidAccessKeyId", SourceError, TransientError),
    ],
)
def test_trouble_is_told_apart(
    status: int, code: str, listing: type[Exception], reading: type[Exception], trouble: Trouble
) -> None:
    trouble.status, trouble.code = status, code
    source = opened(f"http://127.0.0.1:{trouble.server_port}")
    with pytest.raises(listing):
        list(source.entries())
    with pytest.raises(reading):
        source.read("a.jpg")


def test_a_server_that_is_not_there_is_worth_another_try() -> None:
    source = opened("http://127.0.0.1:9")
    with pytest.raises(TransientError):
        list(source.entries())
    with pytest.raises(TransientError):
        source.read("a.jpg")


def test_without_credentials_it_is_said_so(trouble: Trouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    trouble.status = 404
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{trouble.server_port}")
    with pytest.raises(SourceError, match="credentials"):
        list(opened(f"http://127.0.0.1:{trouble.server_port}").entries())


def test_half_of_the_credentials_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(SourceError, match="AccessKeyId"):
        opened("http://127.0.0.1:9")
