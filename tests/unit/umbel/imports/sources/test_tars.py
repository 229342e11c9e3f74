"""A plain tar in the blob store, written by tarfile, and tars that mean harm."""

import io
import random
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.field.archives import info, tarred
from tests.unit.umbel.imports.sources.listing import assert_resumes, contents, rejected, skipped, taken
from umbel.base.blobs import Blobs
from umbel.base.errors import CorruptEntry, FileTooLarge, ImageError, NestedArchive, SourceError, SourceTooLarge
from umbel.base.settings import Settings
from umbel.imports.sources import Entry
from umbel.imports.sources.archive_names import starts_as_archive
from umbel.imports.sources.tars import LONGEST_HEADER, Tar

NOISE = random.Random(1).randbytes(5000)
FORMATS = [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]


def special(name: str, **fields: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(info(name, **fields))
    return out.getvalue()


def header(name: str, size: int, kind: bytes) -> bytes:
    return info(name, size, type=kind).tobuf(tarfile.GNU_FORMAT)


def kept(blobs: Blobs, archive: bytes, **settings: object) -> Tar:
    blobs.put("uploads/a", archive)
    return Tar("uploads/a", blobs, Settings(**settings))  # type: ignore[arg-type]


@given(
    files=st.dictionaries(
        st.from_regex(r"[a-c]{1,3}(/[äöa b]{1,80}){0,3}\.(jpg|PNG)", fullmatch=True),
        st.binary(max_size=1200).filter(lambda data: not starts_as_archive(data)),
        max_size=8,
    ),
    kind=st.sampled_from(FORMATS[:2]),
)
def test_what_is_listed_and_read_is_what_was_put_in(files: dict[str, bytes], kind: int, blobs: Blobs) -> None:
    source = kept(blobs, tarred(*files.items(), kind=kind))
    assert taken(source) == list(files)
    assert contents(source) == files
    assert_resumes(source)


@given(names=st.lists(st.text(st.sampled_from("./\\ab:Cé"), min_size=1, max_size=8), max_size=6))
def test_whatever_the_names_nothing_listed_leads_out(names: list[str], blobs: Blobs) -> None:
    source = kept(blobs, tarred(*((name, NOISE) for name in names)))
    for name in taken(source):
        assert not name.startswith("/")
        assert not {"..", ""} & set(name.split("/"))
    assert_resumes(source)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_kind_of_tar_is_read(kind: int, blobs: Blobs) -> None:
    assert contents(kept(blobs, tarred(("d/a.jpg", NOISE), kind=kind))) == {"d/a.jpg": NOISE}


@pytest.mark.parametrize("name", ["../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "..\\a.jpg", "C:/a.jpg"])
def test_names_that_lead_out_are_refused(name: str, blobs: Blobs) -> None:
    assert rejected(kept(blobs, tarred((name, NOISE)))) == {name: "unsafe_path"}


def test_archives_inside_are_refused(blobs: Blobs) -> None:
    assert rejected(kept(blobs, tarred(("inner.tar.gz", NOISE)))) == {"inner.tar.gz": "nested_archive"}


def test_an_archive_inside_that_calls_itself_a_picture_is_refused_when_read(blobs: Blobs) -> None:
    with pytest.raises(NestedArchive):
        contents(kept(blobs, tarred(("a.jpg", tarred(("b.jpg", NOISE))))))


def test_an_entry_that_is_too_large_is_refused(blobs: Blobs) -> None:
    source = kept(blobs, tarred(("a.jpg", NOISE)), max_bytes=4999)
    assert rejected(source) == {"a.jpg": "file_too_large"}
    with pytest.raises(FileTooLarge):
        source.read("512:5000")


def test_what_is_no_picture_is_passed_over(blobs: Blobs) -> None:
    names = ("a.txt", "__MACOSX/._b.jpg", "./.c.jpg", "g", "./h.jpg")
    source = kept(blobs, tarred(*((name, NOISE) for name in names)))
    assert skipped(source) == ["a.txt", "__MACOSX/._b.jpg", "./.c.jpg", "g"]
    assert taken(source) == ["./h.jpg"]


def test_folders_are_not_listed(blobs: Blobs) -> None:
    assert list(kept(blobs, special("./", type=tarfile.DIRTYPE)).entries()) == []


def listed_until_error(source: Tar) -> list[str]:
    found: list[str] = []
    with pytest.raises(SourceError):
        found.extend(each.name for each in source.entries())
    return found


@pytest.mark.parametrize("cut", [512 + 5120 + 100, 512 + 5120 + 512 + 4999, 512 + 5120 + 512])
def test_of_a_tar_that_is_cut_short_what_came_before_can_be_read(cut: int, blobs: Blobs) -> None:
    archive = tarred(("a.jpg", NOISE), ("b.jpg", NOISE), kind=tarfile.USTAR_FORMAT)
    source = kept(blobs, archive[:cut])
    found: list[Entry] = []
    with pytest.raises(SourceError):
        found.extend(source.entries())  # type: ignore[arg-type]
    assert [(entry.name, source.read(entry.locator)) for entry in found] == [("a.jpg", NOISE)]


def test_a_tar_without_the_blocks_that_end_it_is_complete(blobs: Blobs) -> None:
    archive = tarred(("a.jpg", NOISE), kind=tarfile.USTAR_FORMAT)
    assert taken(kept(blobs, archive[: 512 + 5120])) == ["a.jpg"]


def test_a_damaged_header_is_said_to_be_damaged(blobs: Blobs) -> None:
    archive = bytearray(tarred(("a.jpg", NOISE), ("b.jpg", NOISE), kind=tarfile.USTAR_FORMAT))
    archive[512 + 5120 + 10] ^= 1
    assert listed_until_error(kept(blobs, bytes(archive))) == ["a.jpg"]


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_that_claims_to_be_long_is_not_read_into_memory(kind: bytes, blobs: Blobs) -> None:
    archive = header("a", 64 * LONGEST_HEADER, kind) + bytes(65 * LONGEST_HEADER)
    assert listed_until_error(kept(blobs, archive)) == []


def test_a_chain_of_long_names_ends(blobs: Blobs) -> None:
    link = header("a", 2, tarfile.GNUTYPE_LONGNAME) + b"a\0".ljust(512, b"\0")
    assert listed_until_error(kept(blobs, link * 3000)) == []


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, b"?"])
def test_a_negative_size_does_not_loop(kind: bytes, blobs: Blobs) -> None:
    """As in CVE-2025-8194."""
    negative = bytearray(header("a.jpg", 0, kind))
    negative[124:136] = b"\xff" * 10 + b"\xfc\x00"  # -1024 in base 256
    negative[148:156] = b"        "
    negative[148:156] = b"%06o\0 " % sum(negative)
    listed_until_error(kept(blobs, header("b.jpg", 0, tarfile.REGTYPE) + bytes(negative) + bytes(1024)))


def test_too_many_entries_are_refused(blobs: Blobs) -> None:
    source = kept(blobs, tarred(*((f"{number}.jpg", b"x") for number in range(4))), archive_entries=3)
    with pytest.raises(SourceTooLarge):
        list(source.entries())


def test_too_many_entries_are_refused_after_resuming_too(blobs: Blobs) -> None:
    source = kept(blobs, tarred(*((f"{number}.jpg", b"x") for number in range(4))), archive_entries=3)
    first = next(source.entries())
    with pytest.raises(SourceTooLarge):
        list(source.entries(first.position))


def test_too_many_bytes_are_refused(blobs: Blobs) -> None:
    with pytest.raises(SourceTooLarge):
        next(kept(blobs, tarred(("a.jpg", NOISE)), archive_bytes=9999).entries())


def test_a_locator_behind_the_end_is_refused(blobs: Blobs) -> None:
    with pytest.raises(CorruptEntry):
        kept(blobs, tarred(("a.jpg", NOISE))).read("9000:5000")


@given(place=st.floats(0, 0.999), value=st.integers(0, 255), repair=st.booleans())
@examples(200)
def test_a_changed_byte_never_leads_to_an_unexpected_error(
    place: float, value: int, repair: bool, blobs: Blobs
) -> None:
    """repair: the header's checksum is made to fit, so that the change is believed."""
    archive = bytearray(tarred(("a" * 120 + ".jpg", NOISE[:99]), ("b.jpg", NOISE[:99])))
    at = int(place * 3000)
    archive[at] = value
    block = at // 512 * 512
    if repair:
        archive[block + 148 : block + 156] = b"        "
        archive[block + 148 : block + 156] = b"%06o\0 " % sum(archive[block : block + 512])
    source = kept(blobs, bytes(archive))
    try:
        for each in source.entries():
            if isinstance(each, Entry):
                source.read(each.locator)
    except (SourceError, ImageError):
        pass


def test_listing_keeps_no_list_of_what_it_has_seen(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original: Callable[[tarfile.TarFile], tarfile.TarInfo | None] = tarfile.TarFile.next

    def watched(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
        seen.append(len(archive.members))  # type: ignore[attr-defined]
        return original(archive)

    monkeypatch.setattr(tarfile.TarFile, "next", watched)
    list(kept(blobs, tarred(*((f"{number}.jpg", b"x") for number in range(50)))).entries())
    assert max(seen) <= 1
