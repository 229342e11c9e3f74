"""A bucket as the blob store, against a real S3 server (moto's): the same promises as for a folder."""

import io
import random
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import boto3
import pytest

from tests.field.archives import tarred, zipped
from tests.images import image_bytes, thumbnail
from tests.unit.umbel.imports.sources.listing import assert_resumes, contents
from umbel.base.blobs import PART, Blobs
from umbel.base.errors import BlobMissing, TransientError
from umbel.base.settings import Settings
from umbel.decoding.pool import DecoderPool
from umbel.imports.sources import ArchiveSource, open_source, receive_archive

BYTES = random.Random(1).randbytes(PART + 1000)  # more than one part of an upload
FILES = [(f"{number}.jpg", BYTES[number * 1000 : number * 1500]) for number in range(1, 5)]


@pytest.fixture
def client(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    s3 = boto3.client("s3", endpoint_url=endpoint)
    s3.create_bucket(Bucket="blobs")
    return s3


@pytest.fixture
def blobs(client: Any) -> Blobs:
    return Blobs("s3://blobs/umbel")


def test_a_stream_is_kept_as_it_came(blobs: Blobs) -> None:
    blobs.put_stream("a", io.BytesIO(BYTES))
    assert blobs.get("a") == BYTES


def test_an_empty_stream_is_an_empty_blob(blobs: Blobs) -> None:
    blobs.put_stream("a", io.BytesIO())
    assert blobs.get("a") == b""


def test_a_stream_that_breaks_off_leaves_nothing_behind(blobs: Blobs, client: Any) -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > PART:
                raise ConnectionResetError("gone")
            return super().read(size)

    with pytest.raises(ConnectionResetError):
        blobs.put_stream("broken", Breaking(BYTES))
    assert not blobs.exists("broken")
    assert client.list_multipart_uploads(Bucket="blobs").get("Uploads", []) == []


@pytest.mark.parametrize(("start", "length", "expected"), [(2, 3, b"234"), (8, 9, b"89"), (10, 1, b""), (99, 1, b"")])
def test_a_range_ends_where_the_blob_does(start: int, length: int, expected: bytes, blobs: Blobs) -> None:
    blobs.put("a", b"0123456789")
    assert blobs.get_range("a", start, length) == expected


def test_what_is_not_there_is_missing(blobs: Blobs) -> None:
    for verb in (blobs.get, blobs.size, blobs.open):
        with pytest.raises(BlobMissing):
            verb("gone")
    with pytest.raises(BlobMissing):
        blobs.get_range("gone", 0, 1)


def test_a_list_holds_what_is_below_the_prefix(blobs: Blobs) -> None:
    for key in ("list/a", "list/b/c", "list-old/d"):
        blobs.put(key, b"12345")
    assert sorted((info.key, info.size) for info in blobs.list("list")) == [("list/a", 5), ("list/b/c", 5)]


@pytest.mark.parametrize(("kind", "archive"), [("zip", zipped(*FILES)), ("tar", tarred(*FILES))])
def test_an_archive_is_listed_and_read_where_it_lies(kind: Any, archive: bytes, blobs: Blobs) -> None:
    assert receive_archive(io.BytesIO(archive), blobs, "archive", Settings()) == kind
    source = open_source(ArchiveSource(type=kind, blob_key="archive"), blobs, Settings())
    assert contents(source) == dict(FILES)
    assert_resumes(source)


def shrunk(decoders: DecoderPool, key: str) -> bytes:
    with tempfile.TemporaryFile() as out:
        decoders.write_thumbnail(key, out).result(20)
        out.seek(0)
        return out.read()


def test_a_decoder_without_network_gets_the_bytes_from_its_parent(blobs: Blobs) -> None:
    data = image_bytes(1, size=(1200, 900), kind="BMP")  # several parts
    blobs.put("pictures/a", data)
    with DecoderPool(1, Settings(blob_url="s3://blobs/umbel")) as decoders:
        small = shrunk(decoders, "pictures/a")
        with pytest.raises(BlobMissing):
            shrunk(decoders, "pictures/b")
        [child] = decoders.pids()
        assert shrunk(decoders, "pictures/a") == small
        assert decoders.pids() == [child]
    assert small == thumbnail(data, Settings())


def test_bytes_that_break_off_cost_the_decoder_and_no_other_image(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.put("pictures/a", image_bytes(1))
    with DecoderPool(1, Settings(blob_url="s3://blobs/umbel")) as decoders:
        stream = decoders._blobs.stream

        async def breaking(key: str) -> Any:
            size, parts = await stream(key)

            async def some() -> AsyncIterator[bytes]:
                yield (await anext(parts))[:100]
                raise TransientError("The connection broke.")

            return size, some()

        monkeypatch.setattr(decoders._blobs, "stream", breaking)
        with pytest.raises(TransientError, match="broke"):
            shrunk(decoders, "pictures/a")
        monkeypatch.undo()
        assert decoders.inspect(image_bytes(2)).result(20)


def test_a_blob_written_in_small_parts_is_read_from_anywhere(blobs: Blobs) -> None:
    blobs.put_stream("published/a", io.BytesIO(BYTES), part=5 * 2**20, at_once=1)
    with blobs.open("published/a") as file:
        file.seek(-1000, io.SEEK_END)
        assert file.read() == BYTES[-1000:]
        file.seek(5)
        assert file.read(10) == BYTES[5:15]
