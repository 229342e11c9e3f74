"""Uploads on their way into the blob store."""

import bz2
import gzip
import io
import lzma
import random
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.field.archives import plain, tarred, zip_of, zipped
from umbel.base.blobs import Blobs
from umbel.base.errors import (
    ArchiveBomb,
    SourceError,
    SourceTooLarge,
    UmbelError,
    UnsupportedArchive,
)
from umbel.base.settings import Settings
from umbel.imports.sources import receive_archive, receive_manifest
from umbel.imports.sources.receive import COMPRESSIONS, decompressed

NOISE = random.Random(1).randbytes(50_000)
TAR = tarred(("a.jpg", NOISE), ("b.jpg", NOISE))
PACK = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": partial(lzma.compress, format=lzma.FORMAT_ALONE),
}
JOINED = {kind: PACK[kind] for kind in ("gzip", "bzip2", "xz")}


class Dripping(io.BytesIO):
    """A stream that brings less than it is asked for, as sockets do."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 100))


def received(blobs: Blobs, data: bytes, **settings: object) -> str:
    return receive_archive(io.BytesIO(data), blobs, "uploads/a", Settings(**settings))  # type: ignore[arg-type]


def assert_rejected(error: type[UmbelError], blobs: Blobs, data: bytes, **settings: object) -> None:
    """The upload is refused, and nothing of it is left."""
    with pytest.raises(error):
        received(blobs, data, **settings)
    assert blobs.folder is not None
    assert [path for path in blobs.folder.rglob("*") if path.is_file()] == []


def test_a_zip_is_kept_as_it_is(blobs: Blobs) -> None:
    archive = zipped(("a.jpg", NOISE))
    assert received(blobs, archive) == "zip"
    assert blobs.get("uploads/a") == archive


def test_a_zip_without_entries_is_a_zip(blobs: Blobs) -> None:
    assert received(blobs, zipped()) == "zip"


def test_a_plain_tar_is_kept_as_it_is(blobs: Blobs) -> None:
    assert received(blobs, TAR) == "tar"
    assert blobs.get("uploads/a") == TAR


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
def test_a_packed_tar_is_kept_unpacked(pack: Callable[[bytes], bytes], blobs: Blobs) -> None:
    assert received(blobs, pack(TAR)) == "tar"
    assert blobs.get("uploads/a") == TAR


@pytest.mark.parametrize("pack", JOINED.values(), ids=JOINED)
def test_packed_pieces_behind_one_another_are_one(pack: Callable[[bytes], bytes], blobs: Blobs) -> None:
    received(blobs, pack(TAR[:700]) + pack(b"") + pack(TAR[700:]) + bytes(1024))
    assert blobs.get("uploads/a") == TAR


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
@pytest.mark.parametrize(
    "behind", [b"\r\n", bytes(10_240), b"--boundary--", NOISE], ids=["lf", "zeros", "form", "noise"]
)
def test_what_follows_the_end_of_a_packed_tar_is_ignored(
    pack: Callable[[bytes], bytes], behind: bytes, blobs: Blobs
) -> None:
    received(blobs, pack(TAR) + behind)
    assert blobs.get("uploads/a") == TAR


def test_a_stream_may_bring_less_than_it_is_asked_for(blobs: Blobs) -> None:
    receive_archive(Dripping(gzip.compress(TAR)), blobs, "uploads/a", Settings())
    assert blobs.get("uploads/a") == TAR


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
@pytest.mark.parametrize("share", [0.3, 0.999])
def test_a_packed_tar_that_is_cut_short_is_refused(pack: Callable[[bytes], bytes], share: float, blobs: Blobs) -> None:
    packed = pack(TAR)
    assert_rejected(SourceError, blobs, packed[: int(len(packed) * share)])


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
def test_a_packed_tar_that_is_damaged_is_refused(pack: Callable[[bytes], bytes], blobs: Blobs) -> None:
    packed = bytearray(pack(TAR))
    packed[len(packed) // 2] ^= 0xFF
    assert_rejected(SourceError, blobs, bytes(packed))


@pytest.mark.parametrize(
    "data",
    [b"", b"PK", b"%PDF-1.7", NOISE, bytes(10_240), gzip.compress(NOISE), gzip.compress(b"")],
    ids=["empty", "short", "pdf", "noise", "zeros", "gzip of noise", "gzip of nothing"],
)
def test_anything_else_is_refused(data: bytes, blobs: Blobs) -> None:
    assert_rejected(UnsupportedArchive, blobs, data)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!\x1a\x07\x01\x00", "RAR"),
        (b"(\xb5/\xfd", "Zstandard"),
        (b"LZIP\1", "lzip"),
    ],
)
def test_an_archive_of_another_kind_is_refused_by_its_name(start: bytes, kind: str, blobs: Blobs) -> None:
    assert_rejected(UnsupportedArchive, blobs, start + NOISE)
    with pytest.raises(UnsupportedArchive, match=kind):
        received(blobs, start + NOISE)


@pytest.mark.parametrize("stub", [b"MZ" + bytes(510), b"#!/bin/sh\nexec unzip\n", b"PK00", b"PK\x07\x08", NOISE])
def test_a_zip_behind_something_else_is_a_zip(stub: bytes, blobs: Blobs) -> None:
    archive = stub + zipped(("a.jpg", NOISE))
    assert received(blobs, archive) == "zip"
    assert blobs.get("uploads/a") == archive


def test_the_last_volume_of_a_zip_is_refused_as_one_of_several(blobs: Blobs) -> None:
    with pytest.raises(SourceError, match="several volumes"):
        received(blobs, zip_of(plain({"a.jpg": NOISE}), disk=3)[2000:])


def test_a_zip_without_its_directory_is_refused_at_once(blobs: Blobs) -> None:
    assert_rejected(SourceError, blobs, zipped(("a.jpg", NOISE))[:-30])


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
def test_a_bomb_is_stopped_early(pack: Callable[[bytes], bytes], blobs: Blobs) -> None:
    assert_rejected(ArchiveBomb, blobs, pack(tarred(("a.jpg", bytes(30_000_000)))))


def test_an_archive_that_unpacks_to_too_much_is_refused(blobs: Blobs) -> None:
    assert_rejected(SourceTooLarge, blobs, gzip.compress(TAR), archive_bytes=len(TAR) - 1)


@pytest.mark.parametrize("data", [zipped(("a.jpg", NOISE)), TAR, gzip.compress(TAR)], ids=["zip", "tar", "tar.gz"])
def test_an_upload_that_is_too_large_is_refused(data: bytes, blobs: Blobs) -> None:
    assert_rejected(SourceTooLarge, blobs, data, archive_bytes=len(data) - 1)


def test_xz_that_wants_too_much_memory_is_refused(blobs: Blobs) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 512 * 2**20}]
    assert_rejected(SourceError, blobs, lzma.compress(TAR, filters=filters))


def test_the_streams_own_error_passes_through(blobs: Blobs) -> None:
    class Gone(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 1000:
                raise ConnectionResetError("gone")
            return super().read(min(size or 0, 600))

    with pytest.raises(ConnectionResetError):
        receive_archive(Gone(gzip.compress(TAR)), blobs, "uploads/a", Settings())


def test_an_upload_is_never_whole_in_memory(blobs: Blobs, tmp_path: Path) -> None:
    size = 400 * 2**20  # twelve parts of 5 MiB may be on their way to the store, whatever the size
    with (tmp_path / "big.tar").open("wb") as file:
        file.write(tarred(("a.jpg", b""))[:512])
        file.truncate(size)
    with (tmp_path / "big.tar").open("rb") as file:
        tracemalloc.start()
        try:
            receive_archive(file, blobs, "uploads/a", Settings())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert blobs.size("uploads/a") == size
    assert peak < size / 4


@given(
    pieces=st.lists(st.binary(max_size=5000)),
    cuts=st.integers(1, 999),
    kind=st.sampled_from(sorted(JOINED)),
    behind=st.binary(max_size=50).filter(lambda data: not data.lstrip(b"\0").startswith(tuple(COMPRESSIONS))),
)
def test_unpacking_does_not_depend_on_how_the_bytes_arrive(
    pieces: list[bytes], cuts: int, kind: str, behind: bytes
) -> None:
    packed = b"".join(map(JOINED[kind], pieces)) + behind * bool(pieces)
    arriving = (packed[at : at + cuts] for at in range(0, len(packed), cuts))
    (magic,) = (magic for magic in COMPRESSIONS if JOINED[kind](b"").startswith(magic))
    assert b"".join(decompressed(arriving, magic)) == b"".join(pieces)


def test_a_manifest_that_is_too_large_is_refused(blobs: Blobs) -> None:
    with pytest.raises(SourceTooLarge):
        receive_manifest(io.BytesIO(b"path\n" * 100), blobs, "uploads/m", Settings(archive_bytes=499))
    assert not blobs.exists("uploads/m")
