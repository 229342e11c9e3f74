"""What `tar` packs besides files: links, labels, pieces and holes; and what lies behind the end."""

import io
import posixpath
import tarfile
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.field.archives import info, tar_of, tarred, with_links
from tests.images import image_bytes
from tests.unit.umbel.imports.sources.listing import assert_resumes, contents, rejected, skipped, taken
from umbel.base.blobs import Blobs
from umbel.base.errors import SourceTooLarge
from umbel.base.settings import Settings
from umbel.imports.sources import Entry
from umbel.imports.sources.tars import Tar

PICTURE, OTHER = image_bytes(1), image_bytes(2)
FORMATS = [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]


def kept(blobs: Blobs, archive: bytes, **settings: object) -> Tar:
    blobs.put("uploads/a", archive)
    return Tar("uploads/a", blobs, Settings(**settings))  # type: ignore[arg-type]


def member(name: str, data: bytes, kind: bytes = tarfile.REGTYPE, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    return info(name, len(data), type=kind, **fields), data


def reason(source: Tar) -> str:
    (entry,) = (each for each in source.entries() if isinstance(each, Entry) and each.rejected)
    assert entry.rejected is not None
    return entry.rejected.detail


def test_a_hard_link_is_the_file_under_another_name(blobs: Blobs) -> None:
    source = kept(blobs, with_links({"d/a.jpg": PICTURE}, {"e/b.jpg": "d/a.jpg", "c": "./d/a.jpg"}))
    assert contents(source) == {"d/a.jpg": PICTURE, "e/b.jpg": PICTURE, "c": PICTURE}
    assert_resumes(source)


def test_a_symbolic_link_within_the_archive_is_the_file_under_another_name(blobs: Blobs) -> None:
    annex = {"photos/.git/annex/objects/SHA256-1": PICTURE, "photos/b.jpg": OTHER}
    links = {"photos/2024/a.jpg": "../.git/annex/objects/SHA256-1", "./photos/c.jpg": "b.jpg"}
    source = kept(blobs, with_links(annex, links, tarfile.SYMTYPE))
    assert contents(source) == {"photos/2024/a.jpg": PICTURE, "photos/b.jpg": OTHER, "./photos/c.jpg": OTHER}
    assert_resumes(source)


def test_a_link_may_come_before_its_file_and_means_the_last_of_that_name(blobs: Blobs) -> None:
    link = member("link.jpg", b"", tarfile.SYMTYPE, linkname="a.jpg")
    source = kept(blobs, tar_of(link, member("a.jpg", PICTURE), member("a.jpg", OTHER)))
    assert contents(source)["link.jpg"] == OTHER


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../a.jpg", "gone.jpg", "folder", "link.jpg", ""])
def test_a_link_to_anything_else_says_where_it_leads(kind: bytes, target: str, blobs: Blobs) -> None:
    folder = member("folder", b"", tarfile.DIRTYPE)
    source = kept(blobs, tar_of(folder, member("a.jpg", PICTURE), member("link.jpg", b"", kind, linkname=target)))
    assert rejected(source) == {"link.jpg": "unsafe_path"}
    assert reason(source) == f"It is a link to {target!r}, which is no file of this archive."
    assert taken(source) == ["a.jpg"]


def test_a_link_without_a_pictures_name_that_leads_nowhere_is_passed_over(blobs: Blobs) -> None:
    assert skipped(kept(blobs, tar_of(member("current", b"", tarfile.SYMTYPE, linkname="2024")))) == ["current"]


def test_a_link_under_an_unsafe_name_is_refused(blobs: Blobs) -> None:
    assert rejected(kept(blobs, with_links({"a.jpg": PICTURE}, {"../b.jpg": "a.jpg"}))) == {"../b.jpg": "unsafe_path"}


def test_links_to_far_too_much_are_refused_as_a_whole(blobs: Blobs) -> None:
    archive = with_links({"a.jpg": bytes(8000)}, {f"{number}.jpg": "a.jpg" for number in range(40)})
    source = kept(blobs, archive, archive_bytes=100_000)
    listed = []
    with pytest.raises(SourceTooLarge):
        listed.extend(source.entries())
    with pytest.raises(SourceTooLarge):
        list(source.entries(listed[-1].position))
    assert len(listed) < 20


@given(
    files=st.lists(st.sampled_from(["a.jpg", "b.png", "d/a.jpg", "./c"]), unique=True),
    links=st.lists(
        st.tuples(
            st.sampled_from(["l.jpg", "d/l.jpg", "d/e/l"]),
            st.sampled_from(["a.jpg", "../a.jpg", "d/a.jpg", "../../c", "./c", "/a.jpg", "l.jpg", "gone"]),
            st.sampled_from([tarfile.LNKTYPE, tarfile.SYMTYPE]),
        ),
        max_size=5,
    ),
    kind=st.sampled_from(FORMATS),
)
@examples(150)
def test_links_are_followed_as_tarfile_follows_them(
    files: Sequence[str], links: Sequence[tuple[str, str, bytes]], kind: int, blobs: Blobs
) -> None:
    members = [member(name, image_bytes(number)) for number, name in enumerate(files)]
    members += [member(name, b"", type, linkname=target) for name, target, type in links]
    archive = tar_of(*members, kind=kind)
    source = kept(blobs, archive)
    assert_resumes(source)
    listed = {each.position.split(":")[0]: each for each in source.entries() if isinstance(each, Entry)}
    with tarfile.open(fileobj=io.BytesIO(archive)) as reference:
        for number, packed in enumerate(reference.getmembers(), 1):
            entry = listed.get(str(number))
            if entry and not entry.rejected:
                file = reference.extractfile(packed)
                assert file is not None
                assert source.read(entry.locator) == file.read()
            else:
                assert packed.linkname in {"gone", "/a.jpg", "l.jpg"} or not leads_to(packed, files)


def leads_to(link: tarfile.TarInfo, files: Sequence[str]) -> bool:
    target = posixpath.join(posixpath.dirname(link.name) if link.issym() else "", link.linkname)
    return posixpath.normpath(target) in {posixpath.normpath(file) for file in files}


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_no_file_is_no_failure(kind: int, blobs: Blobs) -> None:
    """Folders, the label of a volume, the names in a folder, access rights, pipes and devices."""
    kinds = [tarfile.DIRTYPE, b"V", b"D", b"A", tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
    members = [member(f"{number}.jpg", b"", kind) for number, kind in enumerate(kinds)]
    source = kept(blobs, tar_of(*members, member("D", b"a.jpg\0", b"D"), member("./a.jpg", PICTURE), kind=kind))
    assert [each.name for each in source.entries()] == ["./a.jpg"]
    assert contents(source) == {"./a.jpg": PICTURE}


def test_a_global_header_is_no_failure(blobs: Blobs) -> None:
    """As `git archive` writes it, with the commit as its comment."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "f" * 40}) as archive:
        archive.addfile(info("a.jpg", len(PICTURE)), io.BytesIO(PICTURE))
    assert contents(kept(blobs, out.getvalue())) == {"a.jpg": PICTURE}


def test_a_kind_that_is_not_known_is_a_file(blobs: Blobs) -> None:
    """As POSIX wants it."""
    source = kept(blobs, tar_of(member("a.jpg", PICTURE, b"7"), member("b.jpg", OTHER, b"Z"), member("c.jpg", PICTURE)))
    assert contents(source) == {"a.jpg": PICTURE, "b.jpg": OTHER, "c.jpg": PICTURE}


def test_the_rest_of_a_file_of_another_volume_is_refused_with_that_reason(blobs: Blobs) -> None:
    source = kept(blobs, tar_of(member("a.jpg", PICTURE, b"M"), member("b.jpg", OTHER)))
    assert "begins in another volume" in reason(source)
    assert taken(source) == ["b.jpg"]


def test_files_with_holes_are_refused_with_that_reason(blobs: Blobs) -> None:
    archive = info("a.jpg", 0, type=tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    assert "--sparse" in reason(kept(blobs, archive))


@given(behind=st.binary(max_size=2000))
@examples(50)
def test_what_follows_the_end_is_ignored(behind: bytes, blobs: Blobs) -> None:
    assert contents(kept(blobs, tarred(("a.jpg", PICTURE)) + behind)) == {"a.jpg": PICTURE}
    one_block = tarred(("a.jpg", PICTURE), kind=tarfile.USTAR_FORMAT)[: -(-len(PICTURE) // 512) * 512 + 1024]
    assert contents(kept(blobs, one_block + behind)) == {"a.jpg": PICTURE}


@pytest.mark.parametrize("name", ["./d/a.jpg", "d//a.jpg", "d/./a.jpg", "back\\slash.jpg", "1: a.jpg", "new\nline.jpg"])
def test_any_name_is_taken(name: str, blobs: Blobs) -> None:
    assert taken(kept(blobs, tarred((name, PICTURE)))) == [name]


def test_names_that_are_not_utf8_are_shown_with_question_marks(blobs: Blobs) -> None:
    archive = tarred(("gr\udcf6\udcdfe.jpg", PICTURE), kind=tarfile.GNU_FORMAT)
    assert b"gr\xf6\xdfe.jpg" in archive
    assert contents(kept(blobs, archive)) == {"gr??e.jpg": PICTURE}


def test_pictures_are_known_by_their_bytes(blobs: Blobs) -> None:
    files = [
        ("IMG.MP", PICTURE),
        ("no suffix", OTHER),
        ("README", b"read me"),
        ("a.json", b"{}"),
        ("large", bytes(9999)),
    ]
    source = kept(blobs, tarred(*files), max_bytes=5000)
    assert taken(source) == ["IMG.MP", "no suffix"]
    assert skipped(source) == ["README", "a.json", "large"]
    assert rejected(source) == {}
