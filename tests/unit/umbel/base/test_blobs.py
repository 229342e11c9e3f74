"""The blob store keeps what it is given, whole or not at all."""

import io
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from umbel.base.blobs import CHUNK, Blobs
from umbel.base.errors import BlobMissing, StorageFull

BYTES = bytes(range(256)) * 20_000  # 5 MB, so that a stream and a file have several chunks


class Breaking(io.RawIOBase):
    """A stream that breaks off, as an upload does whose client has gone."""

    def __init__(self, data: bytes) -> None:
        self.rest: Iterator[bytes] = iter([data])

    def read(self, size: int = -1) -> bytes:
        for data in self.rest:
            return data
        raise ConnectionResetError("gone")


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


def test_a_stream_is_kept_as_it_came(blobs: Blobs) -> None:
    blobs.put_stream("uploads/a", io.BytesIO(BYTES))
    assert blobs.get("uploads/a") == BYTES


def test_an_empty_stream_is_an_empty_blob(blobs: Blobs) -> None:
    blobs.put_stream("uploads/a", io.BytesIO())
    assert blobs.size("uploads/a") == 0


def test_a_stream_that_breaks_off_leaves_nothing_and_its_own_error(blobs: Blobs) -> None:
    with pytest.raises(ConnectionResetError):
        blobs.put_stream("uploads/a", Breaking(BYTES))
    assert blobs.folder is not None
    assert [path for path in blobs.folder.rglob("*") if path.is_file()] == []


def test_a_stream_that_breaks_off_leaves_the_earlier_blob(blobs: Blobs) -> None:
    blobs.put("uploads/a", b"earlier")
    with pytest.raises(ConnectionResetError):
        blobs.put_stream("uploads/a", Breaking(BYTES))
    assert blobs.get("uploads/a") == b"earlier"


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [(0, 3, b"012"), (7, 3, b"789"), (8, 100, b"89"), (10, 1, b""), (99, 5, b""), (3, 0, b"")],
)
def test_a_range_ends_where_the_blob_does(blobs: Blobs, start: int, length: int, expected: bytes) -> None:
    blobs.put("a", b"0123456789")
    assert blobs.get_range("a", start, length) == expected


@pytest.mark.parametrize("verb", ["get", "size", "open"])
def test_what_is_not_there_is_missing(blobs: Blobs, verb: str) -> None:
    with pytest.raises(BlobMissing):
        getattr(blobs, verb)("a")


def test_a_range_of_what_is_not_there_is_missing(blobs: Blobs) -> None:
    with pytest.raises(BlobMissing):
        blobs.get_range("a", 0, 1)


@given(
    moves=st.lists(
        st.tuples(
            st.sampled_from([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END]),
            st.integers(-CHUNK, 2 * CHUNK),
            st.integers(0, CHUNK + 9),
        )
    )
)
@examples(50)
def test_an_open_blob_reads_like_any_file(blobs: Blobs, moves: list[tuple[int, int, int]]) -> None:
    if not blobs.exists("a"):
        blobs.put("a", BYTES)
    reference = io.BytesIO(BYTES)
    with blobs.open("a") as file:
        for whence, offset, length in moves:
            if {io.SEEK_SET: 0, io.SEEK_CUR: reference.tell(), io.SEEK_END: len(BYTES)}[whence] + offset < 0:
                continue
            assert file.seek(offset, whence) == reference.seek(offset, whence)
            assert file.read(length) == reference.read(length)


def test_a_blob_opened_twice_is_read_by_two_threads(blobs: Blobs) -> None:
    blobs.put("a", BYTES)
    found: list[bytes] = []
    together = threading.Barrier(2)

    def read() -> None:
        with blobs.open("a") as file:
            together.wait(10)
            found.append(b"".join(iter(lambda: file.read(1000), b"")))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [BYTES, BYTES]


def test_a_list_holds_what_is_below_the_prefix(blobs: Blobs) -> None:
    for key in ("uploads/a", "uploads/deep/b", "uploads-old/c", "d"):
        blobs.put(key, b"12345")
    found = {info.key: info for info in blobs.list("uploads")}
    assert sorted(found) == ["uploads/a", "uploads/deep/b"]
    assert found["uploads/a"].size == 5
    assert datetime.now(UTC) - found["uploads/a"].modified < timedelta(minutes=5)


def test_a_list_of_an_unknown_prefix_is_empty(blobs: Blobs) -> None:
    assert list(blobs.list("uploads")) == []


@pytest.mark.parametrize(
    "put", [lambda store: store.put("a", b"1"), lambda store: store.put_stream("a", io.BytesIO(b"1"))]
)
def test_a_disk_that_is_nearly_full_is_not_filled(tmp_path: Path, put: Callable[[Blobs], None]) -> None:
    full = Blobs(tmp_path.as_uri(), min_free=shutil.disk_usage(tmp_path).free * 2)
    with pytest.raises(StorageFull):
        put(full)
    assert list(full.list("")) == []
