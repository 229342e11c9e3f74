"""A zip in the blob store, against zipfile as the reference, and against archives that mean harm."""

import io
import json
import random
import stat
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.field.archives import zipped
from tests.images import image_bytes
from tests.unit.umbel.imports.sources.listing import assert_resumes, contents, rejected, skipped, taken
from umbel.base.blobs import Blobs
from umbel.base.errors import CorruptEntry, FileTooLarge, ImageError, NestedArchive, SourceError, SourceTooLarge
from umbel.base.settings import Settings
from umbel.imports.sources import Entry, Skipped
from umbel.imports.sources.archive_names import starts_as_archive
from umbel.imports.sources.zips import Zip

NOISE = random.Random(1).randbytes(5000)
METHODS = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])


def with_info(name: str, data: bytes, change: Callable[[zipfile.ZipInfo], None]) -> bytes:
    info = zipfile.ZipInfo(name)
    change(info)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, data)
    return out.getvalue()


def overlapping(*names: str) -> bytes:
    """One entry's bytes under several names, as in Fifield's zip bomb (USENIX WOOT 2019) at its simplest."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("alone.jpg", NOISE)
        archive.writestr(names[0], NOISE)
        for name in names[1:]:
            twin = zipfile.ZipInfo(name)
            for field in ("header_offset", "compress_size", "file_size", "CRC", "compress_type"):
                setattr(twin, field, getattr(archive.filelist[1], field))
            archive.filelist.append(twin)
    return out.getvalue()


def kept(blobs: Blobs, archive: bytes, **settings: object) -> Zip:
    blobs.put("uploads/a", archive)
    return Zip("uploads/a", blobs, Settings(**settings))  # type: ignore[arg-type]


def code_of(archive: bytes, blobs: Blobs, **settings: object) -> str:
    (code,) = rejected(kept(blobs, archive, **settings)).values()
    return code


@given(
    files=st.dictionaries(
        st.from_regex(r"[a-c]{1,3}(/[äöa b]{1,3}){0,2}\.(jpg|PNG)", fullmatch=True),
        st.tuples(st.binary(max_size=300).filter(lambda data: not starts_as_archive(data)), METHODS),
        max_size=8,
    ),
    comment=st.binary(max_size=50).filter(lambda comment: b"PK" not in comment),  # zipfile stumbles over some
    before=st.binary(max_size=50).filter(lambda before: b"PK" not in before),  # and over these
)
def test_what_is_listed_and_read_is_what_zipfile_says(
    files: dict[str, tuple[bytes, int]], comment: bytes, before: bytes, blobs: Blobs
) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.comment = comment
        for name, (data, method) in files.items():
            archive.writestr(name, data, method)
    source = kept(blobs, before + out.getvalue())
    with zipfile.ZipFile(io.BytesIO(before + out.getvalue())) as reference:
        assert taken(source) == reference.namelist()
        assert contents(source) == {name: reference.read(name) for name in reference.namelist()}
    assert_resumes(source)


@given(names=st.lists(st.text(st.sampled_from("./\\ab:C\0é"), min_size=1, max_size=8), max_size=6))
def test_whatever_the_names_nothing_listed_leads_out(names: list[str], blobs: Blobs) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo()
            info.filename = name  # past the checks of zipfile
            if name not in archive.NameToInfo:
                archive.writestr(info, NOISE)
    source = kept(blobs, out.getvalue())
    for name in taken(source):
        assert not name.startswith("/")
        assert not {"..", ""} & set(name.split("/"))
        assert "\0" not in name
    assert_resumes(source)


@pytest.mark.parametrize("name", ["../evil.jpg", "/etc/evil.jpg", "C:\\evil.jpg", "a/../../evil.jpg"])
def test_names_that_lead_out_are_refused(name: str, blobs: Blobs) -> None:
    assert code_of(zipped((name, NOISE)), blobs) == "unsafe_path"


def test_links_are_refused(blobs: Blobs) -> None:
    def link(info: zipfile.ZipInfo) -> None:
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16

    assert code_of(with_info("a.jpg", b"/etc/passwd", link), blobs) == "unsafe_path"


@pytest.mark.parametrize("name", ["inner.zip", "inner.tar.gz", "a/inner.7Z", "inner.rar"])
def test_archives_inside_are_refused(name: str, blobs: Blobs) -> None:
    assert code_of(zipped((name, NOISE)), blobs) == "nested_archive"


def test_an_archive_inside_that_calls_itself_a_picture_is_refused_when_read(blobs: Blobs) -> None:
    with pytest.raises(NestedArchive):
        contents(kept(blobs, zipped(("inner.jpg", zipped(("a.jpg", NOISE))))))


def test_an_encrypted_entry_is_refused(blobs: Blobs) -> None:
    archive = bytearray(zipped(("a.jpg", NOISE)))
    archive[archive.rindex(b"PK\x01\x02") + 8] |= 1
    assert code_of(bytes(archive), blobs) == "unreadable"


def test_an_entry_that_is_too_large_is_refused(blobs: Blobs) -> None:
    assert code_of(zipped(("a.jpg", NOISE)), blobs, max_bytes=4999) == "file_too_large"


def test_an_entry_of_zeros_is_a_bomb(blobs: Blobs) -> None:
    assert code_of(zipped(("a.jpg", bytes(10_000_000))), blobs) == "archive_bomb"


def test_an_entry_that_unpacks_to_more_than_it_says_is_not_unpacked_further(blobs: Blobs) -> None:
    archive = bytearray(zipped(("a.jpg", bytes(10_000_000))))
    record = archive.rindex(b"PK\x01\x02")
    archive[record + 24 : record + 28] = (100_000).to_bytes(4, "little")
    source = kept(blobs, bytes(archive))
    assert taken(source) == ["a.jpg"]
    with pytest.raises(CorruptEntry):
        contents(source)


def test_entries_that_share_their_bytes_are_refused(blobs: Blobs) -> None:
    source = kept(blobs, overlapping("a.jpg", "b.jpg", "c.jpg"))
    assert taken(source) == ["alone.jpg"]
    assert rejected(source) == dict.fromkeys(["a.jpg", "b.jpg", "c.jpg"], "archive_bomb")


def test_an_entry_that_contains_another_is_refused_with_it(blobs: Blobs) -> None:
    inner = zipped(("a.jpg", NOISE), method=zipfile.ZIP_STORED)
    header_and_data = inner[: inner.index(b"PK\x01\x02")]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("outer.jpg", header_and_data)
        quoted = zipfile.ZipInfo("a.jpg")
        quoted.header_offset = 30 + len("outer.jpg")
        quoted.compress_size = quoted.file_size = len(NOISE)
        quoted.CRC = zlib.crc32(NOISE)
        archive.filelist.append(quoted)
    assert rejected(kept(blobs, out.getvalue())) == dict.fromkeys(["outer.jpg", "a.jpg"], "archive_bomb")


def test_a_wrong_checksum_is_refused_when_read(blobs: Blobs) -> None:
    archive = bytearray(zipped(("a.jpg", NOISE), method=zipfile.ZIP_STORED))
    archive[100] ^= 1
    with pytest.raises(CorruptEntry):
        contents(kept(blobs, bytes(archive)))


def test_a_damaged_stream_is_refused_when_read(blobs: Blobs) -> None:
    archive = bytearray(zipped(("a.jpg", NOISE)))
    archive[35:60] = bytes(25)
    with pytest.raises(CorruptEntry):
        contents(kept(blobs, bytes(archive)))


def test_reading_never_fetches_more_than_is_taken(blobs: Blobs) -> None:
    source = kept(blobs, zipped(("a.jpg", NOISE)), max_bytes=1000)
    (entry,) = source.entries()
    assert isinstance(entry, Entry)
    with pytest.raises(FileTooLarge):
        source.read(entry.locator)


def test_what_is_no_picture_is_passed_over(blobs: Blobs) -> None:
    source = kept(
        blobs, zipped(*((name, NOISE) for name in ("a.txt", "__MACOSX/._b.jpg", ".c.jpg", "d/.e/f.jpg", "g", "h.jpg")))
    )
    assert skipped(source) == ["a.txt", "__MACOSX/._b.jpg", ".c.jpg", "d/.e/f.jpg", "g"]
    assert taken(source) == ["h.jpg"]


def test_folders_are_not_listed(blobs: Blobs) -> None:
    assert list(kept(blobs, zipped(("d/", b""), ("../", b""))).entries()) == []


def test_an_archive_without_entries_is_empty(blobs: Blobs) -> None:
    assert list(kept(blobs, zipped()).entries()) == []


def test_names_in_utf8_without_the_flag_are_read_as_meant(blobs: Blobs) -> None:
    archive = zipped(("rosé.jpg", NOISE))
    record = archive.rindex(b"PK\x01\x02")
    assert taken(kept(blobs, archive[: record + 9] + b"\0" + archive[record + 10 :])) == ["rosé.jpg"]


def test_too_many_entries_are_refused_as_a_whole(blobs: Blobs) -> None:
    source = kept(blobs, zipped(*((f"{number}.jpg", b"x") for number in range(4))), archive_entries=3)
    with pytest.raises(SourceTooLarge):
        next(source.entries())


def test_a_directory_that_lies_about_its_entries_is_refused_too(blobs: Blobs) -> None:
    archive = bytearray(zipped(*((f"{number}.jpg", b"x") for number in range(4))))
    archive[-14:-10] = b"\1\0\1\0"
    with pytest.raises(SourceTooLarge):
        next(kept(blobs, bytes(archive), archive_entries=3).entries())


def test_too_many_bytes_are_refused_as_a_whole(blobs: Blobs) -> None:
    with pytest.raises(SourceTooLarge):
        next(kept(blobs, zipped(("a.jpg", NOISE), ("b.jpg", NOISE)), archive_bytes=9999).entries())


@pytest.mark.parametrize(
    "damage",
    [
        lambda archive: b"",
        lambda archive: b"PK\x03\x04 and nothing else",
        lambda archive: archive[:-30],
        lambda archive: archive[: len(archive) // 2],
        lambda archive: archive.replace(b"PK\x01\x02", b"PK\x01\x03"),
        lambda archive: archive[100:],
        lambda archive: archive[:-10] + (2**31).to_bytes(4, "little") + archive[-6:],
        lambda archive: archive[:-6] + (2**31).to_bytes(4, "little") + archive[-2:],
    ],
)
def test_a_broken_directory_is_said_to_be_broken(damage: Callable[[bytes], bytes], blobs: Blobs) -> None:
    with pytest.raises(SourceError):
        list(kept(blobs, damage(zipped(("a.jpg", NOISE), ("b.jpg", NOISE)))).entries())


@given(place=st.floats(0, 0.999), value=st.integers(0, 255))
@examples(150)
def test_a_changed_byte_never_leads_to_an_unexpected_error(place: float, value: int, blobs: Blobs) -> None:
    archive = bytearray(zipped(("a.jpg", NOISE[:99]), ("b.jpg", image_bytes(1)[:99]), method=zipfile.ZIP_STORED))
    archive[int(place * len(archive))] = value
    source = kept(blobs, bytes(archive))
    try:
        for each in source.entries():
            if isinstance(each, Entry):
                source.read(each.locator)
    except (SourceError, ImageError):
        pass


def test_more_entries_than_the_old_format_counts(blobs: Blobs) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(66_000):
            archive.writestr(zipfile.ZipInfo(f"{number}.jpg"), b"x")
    source = kept(blobs, out.getvalue())
    assert sum(1 for _ in source.entries()) == 66_000
    assert next(source.entries("65998")).name == "65999.jpg"


def test_entries_beyond_four_gigabytes(blobs: Blobs) -> None:
    blobs.put("uploads/a", b"")
    assert blobs.folder is not None
    with (blobs.folder / "uploads/a").open("r+b") as sparse:
        sparse.seek(5 * 2**30)
        with zipfile.ZipFile(sparse, "w") as archive:
            archive.writestr("far.jpg", NOISE)
    source = Zip("uploads/a", blobs, Settings())
    assert contents(source) == {"far.jpg": NOISE}


def test_a_local_header_with_many_extra_fields(blobs: Blobs) -> None:
    """More of them than are fetched with the first request."""

    def fill(info: zipfile.ZipInfo) -> None:
        info.extra = b"\xfe\xca" + (2000).to_bytes(2, "little") + bytes(2000)

    assert contents(kept(blobs, with_info("a.jpg", NOISE, fill))) == {"a.jpg": NOISE}


def test_many_threads_read_at_once(blobs: Blobs) -> None:
    files = [(f"{number}.jpg", bytes([number]) * 50 + NOISE) for number in range(20)]
    source = kept(blobs, zipped(*files))
    entries = [each for each in source.entries() if isinstance(each, Entry)] * 5
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda entry: source.read(entry.locator), entries))
    assert found == [data for _, data in files] * 5


def test_a_locator_is_enough_in_another_process(blobs: Blobs) -> None:
    (entry,) = kept(blobs, zipped(("a.jpg", NOISE))).entries()
    assert isinstance(entry, Entry)
    assert entry.locator == json.dumps(json.loads(entry.locator))
    assert Zip("uploads/a", blobs, Settings()).read(entry.locator) == NOISE


def test_an_archive_that_is_gone_is_said_to_be_gone(blobs: Blobs) -> None:
    with pytest.raises(SourceError):
        Zip("uploads/gone", blobs, Settings())


def test_listing_says_what_is_passed_over_in_place(blobs: Blobs) -> None:
    found = kept(blobs, zipped(("a.jpg", NOISE), ("b.txt", NOISE), ("c.jpg", NOISE))).entries()
    assert [type(each) for each in islice(found, 3)] == [Entry, Skipped, Entry]
