"""Zips as other tools than zipfile write them: where their directory is, what their entries are called and hold."""

import io
import stat
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.field import archives
from tests.field.archives import FAT, LINK, NTFS, STREAMED, UNIX, UTF8, Zipped, unicode_path, zip_of
from tests.images import image_bytes
from tests.unit.umbel.imports.sources.listing import assert_resumes, contents, rejected, skipped, taken
from umbel.base.blobs import Blobs
from umbel.base.errors import CorruptEntry, SourceError, SourceTooLarge
from umbel.base.settings import Settings
from umbel.imports.sources import Entry
from umbel.imports.sources.archive_names import starts_as_archive
from umbel.imports.sources.zips import Zip

PICTURE = image_bytes(1)
FILES = {"a.jpg": PICTURE, "d/b.jpg": image_bytes(2)}
PLAIN = archives.plain(FILES)


def kept(blobs: Blobs, archive: bytes, **settings: object) -> Zip:
    blobs.put("uploads/a", archive)
    return Zip("uploads/a", blobs, Settings(**settings))  # type: ignore[arg-type]


def named(blobs: Blobs, name: bytes, **fields: object) -> str:
    """What the only entry is called."""
    (entry,) = kept(blobs, zip_of([Zipped(name, PICTURE, **fields)])).entries()  # type: ignore[arg-type]
    assert isinstance(entry, Entry)
    if entry.rejected is None:
        assert kept(blobs, zip_of([Zipped(name, PICTURE, **fields)])).read(entry.locator) == PICTURE  # type: ignore[arg-type]
    return entry.name if entry.rejected is None else entry.rejected.code


extra_fields = st.lists(st.tuples(st.integers(2, 0x7000), st.binary(max_size=20)), max_size=3).map(
    lambda fields: b"".join(struct.pack("<HH", kind, len(data)) + data for kind, data in fields)
)
files = st.builds(
    Zipped,
    name=st.from_regex(rb"[a-z]{1,3}(/[a-z ]{1,5}){0,2}\.(jpg|PNG)", fullmatch=True),
    data=st.binary(max_size=300).filter(lambda data: not starts_as_archive(data)),
    method=st.sampled_from([0, 8, 12, 14]),
    flags=st.sampled_from([0, STREAMED, UTF8, STREAMED | UTF8]),
    host=st.sampled_from([FAT, UNIX, NTFS]),
    attributes=st.sampled_from([0, 0x20, 0o644 << 16, archives.FILE]),
    extra=extra_fields,
    wide=st.booleans(),
)
no_end = st.binary(max_size=60).filter(lambda data: b"PK" not in data)  # which zipfile would take for one


@given(
    files=st.lists(files, max_size=5, unique_by=lambda file: file.name),
    stub=st.binary(max_size=60),
    shifted=st.booleans(),
    comment=no_end,
)
@examples(150)
def test_what_is_listed_and_read_is_what_zipfile_says(
    files: list[Zipped], stub: bytes, shifted: bool, comment: bytes, blobs: Blobs
) -> None:
    archive = zip_of(files, stub=stub, shifted=shifted, comment=comment)
    source = kept(blobs, archive)
    with zipfile.ZipFile(io.BytesIO(archive)) as reference:
        assert taken(source) == reference.namelist()
        assert contents(source) == {name: reference.read(name) for name in reference.namelist()}
    assert_resumes(source)


@given(
    strange=st.lists(
        st.builds(
            Zipped,
            name=st.binary(min_size=1, max_size=12).map(lambda name: name + b".jpg"),
            data=st.just(PICTURE),
            flags=st.sampled_from([0, UTF8]),
            host=st.sampled_from([FAT, UNIX, NTFS]),
            extra=st.binary(max_size=30) | st.text(max_size=5).map(lambda name: unicode_path(b"a.jpg", name)),
        ),
        max_size=5,
    ),
    behind=st.binary(max_size=60),
)
@examples(150)
def test_no_name_and_no_extra_field_stops_the_others(strange: list[Zipped], behind: bytes, blobs: Blobs) -> None:
    source = kept(blobs, zip_of([*strange, *PLAIN], behind=behind))
    assert taken(source)[-2:] == list(FILES)
    for name in taken(source):
        assert ".." not in name.replace("\\", "/").split("/")
        assert not name.startswith(("/", "\\"))
    assert_resumes(source)


@given(comment=st.binary(max_size=80), fake=st.binary(min_size=18, max_size=40), behind=st.binary(max_size=80))
@examples(150)
def test_a_signature_in_the_comment_or_behind_the_archive_is_no_end(
    comment: bytes, fake: bytes, behind: bytes, blobs: Blobs
) -> None:
    fake = b"PK\x05\x06\x01" + fake  # of volume 1 or higher
    for archive in (zip_of(PLAIN, comment=comment + fake, behind=behind), zip_of(PLAIN, behind=comment + fake)):
        assert contents(kept(blobs, archive)) == FILES


@pytest.mark.parametrize("behind", [b"\r\n", bytes(100_000), b"x" * 1_000_000], ids=len)
def test_what_follows_the_archive_is_ignored(behind: bytes, blobs: Blobs) -> None:
    assert contents(kept(blobs, zip_of(PLAIN, behind=behind))) == FILES


def test_what_is_behind_too_many_bytes_is_not_found(blobs: Blobs) -> None:
    with pytest.raises(SourceError, match="no directory at its end"):
        list(kept(blobs, zip_of(PLAIN, behind=bytes(2**20))).entries())


@pytest.mark.parametrize("make", [archives.streamed, archives.self_extracting, archives.spanned, archives.windows])
def test_what_tools_write_is_read(make: object, blobs: Blobs) -> None:
    assert contents(kept(blobs, make(FILES))) == FILES  # type: ignore[operator]


@pytest.mark.parametrize("shifted", [False, True])
def test_bytes_may_precede_the_archive(shifted: bool, blobs: Blobs) -> None:
    for stub in (b"MZ" + bytes(510), b"PK00", b"PK\x07\x08"):
        assert contents(kept(blobs, zip_of(PLAIN, stub=stub, shifted=shifted))) == FILES


def test_the_directory_may_be_signed_and_its_end_further_on(blobs: Blobs) -> None:
    signature = b"PK\x05\x05\x04\x00abcd"
    assert contents(kept(blobs, zip_of(PLAIN, signature=signature, gap=b"12345"))) == FILES


def test_one_volume_of_several_is_refused_by_that_reason(blobs: Blobs) -> None:
    with pytest.raises(SourceError, match="one of several volumes: join them"):
        list(kept(blobs, zip_of(PLAIN, disk=2)).entries())


def test_offsets_of_large_zips_that_macos_makes(blobs: Blobs) -> None:
    """They have no zip64 fields, so that an offset is only told modulo 4 GiB."""
    starts = [50_000, 2**32 + 10_000]
    blobs.put("uploads/a", b"")
    assert blobs.folder is not None
    with (blobs.folder / "uploads/a").open("r+b") as sparse:
        for file, start in zip(PLAIN, starts, strict=True):
            sparse.seek(start)
            sparse.write(file.local)
        at = sparse.tell()
        directory = b"".join(file.record(start % 2**32) for file, start in zip(PLAIN, starts, strict=True))
        place = (0, 0, len(PLAIN), len(PLAIN), len(directory), at % 2**32, 0)
        sparse.write(directory + struct.pack("<4s4H2LH", b"PK\x05\x06", *place))
    assert contents(Zip("uploads/a", blobs, Settings())) == FILES


@pytest.mark.parametrize("host", [FAT, NTFS])
@pytest.mark.parametrize(
    ("name", "found"),
    [
        (b"d\\e f\\a.jpg", "d/e f/a.jpg"),
        (b"d/e\\a.jpg", "d/e/a.jpg"),
        (b"..\\a.jpg", "unsafe_path"),
        (b"d\\..\\..\\a.jpg", "unsafe_path"),
        (b"C:\\a.jpg", "unsafe_path"),
        (b"\\\\host\\share\\a.jpg", "unsafe_path"),
        (b"\\a.jpg", "unsafe_path"),
    ],
)
def test_backslashes_of_windows_are_turned(host: int, name: bytes, found: str, blobs: Blobs) -> None:
    assert named(blobs, name, host=host) == found


@pytest.mark.parametrize("name", [b"..\\a.jpg", b"C:\\a.jpg", b"\\\\host\\a.jpg"])
def test_a_path_of_windows_is_unsafe_whatever_wrote_it(name: bytes, blobs: Blobs) -> None:
    assert named(blobs, name) == "unsafe_path"


def test_a_backslash_in_a_name_of_unix_is_part_of_it(blobs: Blobs) -> None:
    assert named(blobs, b"back\\slash.jpg") == "back\\slash.jpg"


def test_folders_of_windows_are_not_listed(blobs: Blobs) -> None:
    folders = [
        Zipped(b"d\\", b"", host=FAT),
        Zipped(b"e", b"", attributes=0x10),
        Zipped(b"f", b"", attributes=0o40755 << 16),
    ]
    assert list(kept(blobs, zip_of(folders)).entries()) == []


@pytest.mark.parametrize(
    ("raw", "fields", "name"),
    [
        ("Bäume/rosé.jpg".encode("cp437"), {}, "Bäume/rosé.jpg"),
        ("Bäume.jpg".encode(), {}, "Bäume.jpg"),
        ("花.jpg".encode(), {"flags": UTF8}, "花.jpg"),
        (b"\xff\xfe.jpg", {"flags": UTF8}, "??.jpg"),
        (b"?.jpg", {"extra": unicode_path(b"?.jpg", "花.jpg")}, "花.jpg"),
        (b"\x84.jpg", {"extra": b"UT\x01\x00x" + unicode_path(b"\x84.jpg", "ä.jpg")}, "ä.jpg"),
        (b"d\\?.jpg", {"extra": unicode_path(b"d\\?.jpg", "d\\花.jpg"), "host": FAT}, "d/花.jpg"),
        (b"renamed.jpg", {"extra": unicode_path(b"?.jpg", "花.jpg")}, "renamed.jpg"),
        (b"a.jpg", {"extra": unicode_path(b"a.jpg", "../a.jpg")}, "unsafe_path"),
        (b"a.jpg", {"extra": unicode_path(b"a.jpg", "")}, "a.jpg"),
        (b"a.jpg", {"extra": b"up\xff\xff\x01"}, "a.jpg"),
    ],
)
def test_names_in_every_code_are_shown(raw: bytes, fields: dict[str, object], name: str, blobs: Blobs) -> None:
    assert named(blobs, raw, **fields) == name


@pytest.mark.parametrize("method", [0, 8, 12, 14, 95])
def test_every_method_of_the_standard_library_is_unpacked(method: int, blobs: Blobs) -> None:
    files = {name: bytes(data) for name, data in FILES.items()} | {"no suffix": PICTURE}
    source = kept(blobs, zip_of(Zipped(name.encode(), data, method) for name, data in files.items()))
    assert contents(source) == files


@pytest.mark.parametrize("method", [8, 12, 14, 95])
def test_an_entry_is_not_unpacked_beyond_the_size_it_tells(method: int, blobs: Blobs) -> None:
    archive = bytearray(zip_of([Zipped(b"a.jpg", bytes(10_000_000), method)]))
    record = archive.rindex(b"PK\x01\x02")
    archive[record + 24 : record + 28] = (100_000).to_bytes(4, "little")
    with pytest.raises(CorruptEntry):
        contents(kept(blobs, bytes(archive), archive_ratio=10_000))


def test_a_dictionary_is_no_larger_than_what_is_unpacked(blobs: Blobs) -> None:
    """Its size is told by the archive: 4 GiB less one byte, here."""
    file = Zipped(b"a.jpg", PICTURE, method=14)
    archive = zip_of([file]).replace(file.packed[:9], file.packed[:5] + b"\xff\xff\xff\xff")
    assert contents(kept(blobs, archive)) == {"a.jpg": PICTURE}


@pytest.mark.parametrize(("method", "name"), [(9, "Deflate64"), (93, "Zstandard"), (98, "PPMd"), (77, "method 77")])
def test_another_method_is_refused_by_its_name(method: int, name: str, blobs: Blobs) -> None:
    (entry,) = kept(blobs, zip_of([Zipped(b"a.jpg", PICTURE, method)])).entries()
    assert isinstance(entry, Entry)
    assert entry.rejected is not None
    assert entry.rejected.code == "unreadable"
    assert name in entry.rejected.detail


def test_a_link_to_a_file_of_the_zip_is_that_file_under_another_name(blobs: Blobs) -> None:
    links = {"link.jpg": "a.jpg", "d/e/up.jpg": "../../a.jpg", "d/no suffix": "./b.jpg"}
    source = kept(blobs, zip_of([*(Zipped(n.encode(), t.encode(), attributes=LINK) for n, t in links.items()), *PLAIN]))
    a, b = FILES.values()
    assert contents(source) == {"link.jpg": a, "d/e/up.jpg": a, "d/no suffix": b, **FILES}
    assert_resumes(source)


@pytest.mark.parametrize("target", [b"/a.jpg", b"../a.jpg", b"gone.jpg", b"link.jpg", b"d", b"", b"\xff"])
def test_a_link_to_anything_else_is_refused(target: bytes, blobs: Blobs) -> None:
    source = kept(blobs, zip_of([*PLAIN, Zipped(b"link.jpg", target, attributes=LINK)]))
    assert rejected(source) == {"link.jpg": "unsafe_path"}
    assert contents(source) == FILES


def test_links_to_far_too_much_are_refused_as_a_whole(blobs: Blobs) -> None:
    links = [Zipped(b"%d.jpg" % number, b"a.jpg", attributes=LINK) for number in range(40)]
    with pytest.raises(SourceTooLarge):
        next(kept(blobs, zip_of([*PLAIN, *links]), archive_bytes=30 * len(PICTURE)).entries())


def test_devices_are_passed_over_and_what_was_piped_is_a_file(blobs: Blobs) -> None:
    entries = [
        Zipped(b"device.jpg", b"", attributes=stat.S_IFCHR << 16),
        Zipped(b"piped.jpg", PICTURE, attributes=stat.S_IFIFO << 16),  # as `zip` writes its standard input
    ]
    assert contents(kept(blobs, zip_of([*entries, *PLAIN]))) == {"piped.jpg": PICTURE, **FILES}


def test_pictures_are_known_by_their_bytes(blobs: Blobs) -> None:
    jxl = b"\xff\x0a" + bytes(100)
    files = [
        (b"IMG.HEIC", PICTURE),
        (b"PXL.MP", PICTURE),
        (b"cut IMG_2026010.jp", PICTURE),
        (b"no suffix", PICTURE),
        (b"photo.jpg_large", PICTURE),
        (b"raw", jxl),
        (b"README", b"read me"),
        (b"IMG.HEIC.json", b"{}"),
        (b"film.mp4", PICTURE),
        (b"empty", b""),
        (b"large", bytes(100_000)),
    ]
    source = kept(blobs, zip_of(Zipped(*file) for file in files), max_bytes=50_000)
    assert taken(source) == ["IMG.HEIC", "PXL.MP", "cut IMG_2026010.jp", "no suffix", "photo.jpg_large", "raw"]
    assert skipped(source) == ["README", "IMG.HEIC.json", "film.mp4", "empty", "large"]
    assert rejected(source) == {}


def test_what_cannot_be_looked_at_is_refused_if_its_name_is_a_pictures(blobs: Blobs) -> None:
    files = [Zipped(name, PICTURE, flags=1) for name in (b"a.jpg", b"LICENSE")]
    source = kept(blobs, zip_of(files))
    assert rejected(source) == {"a.jpg": "unreadable"}
    assert skipped(source) == ["LICENSE"]
