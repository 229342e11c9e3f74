"""Lists as sources: which files and addresses their rows lead to."""

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.images import image_bytes
from tests.unit.umbel.imports.sources.listing import assert_resumes, contents, rejected
from tests.unit.umbel.imports.sources.manifests import kept, wrong
from umbel.base.blobs import Blobs
from umbel.base.errors import AddressRefused, ImageError, SourceError, Unreadable, UnsafePath
from umbel.base.settings import Settings
from umbel.imports.sources import Entry, ManifestSource, open_source, receive_manifest


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "root"
    path.mkdir()
    return path


@given(
    text=st.text(st.sampled_from('",;\n\r\\{}[]:ab\0é\t') | st.characters(), max_size=60) | st.binary(max_size=60),
    start=st.sampled_from([b"path,label,x\n1,2,3\n", b'{"path": "a.jpg"}\n', b'[{"path": "a.jpg"}', b""]),
)
@examples(300)
def test_whatever_a_list_holds_it_is_refused_or_can_be_listed_and_resumed(
    text: str | bytes, start: bytes, blobs: Blobs
) -> None:
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    try:
        source = kept(blobs, start + raw)
    except SourceError as error:
        error.detail.encode()  # can be told
        return
    assert_resumes(source)
    for each in source.entries():
        json.dumps(each.metadata, allow_nan=False).encode()
        assert "\0" not in each.name + (each.label or "")


@pytest.mark.parametrize(
    ("start", "row", "end"),
    [
        (b"path,note\n", b'a.jpg,"' + b"x" * 100_000 + b'"\n', b""),
        (b"", b'{"path": "a.jpg", "label": "' + b"x" * 100_000 + b'"}\n', b""),
        (b'[{"path": "a.jpg"}', b',\n{"path": "a.jpg", "label": "' + b"x" * 100_000 + b'"}', b"]"),
    ],
)
def test_a_list_is_never_whole_in_memory(start: bytes, row: bytes, end: bytes, blobs: Blobs, tmp_path: Path) -> None:
    with (tmp_path / "list").open("wb") as file:
        file.write(start + b"".join(row for _ in range(1_000)) + end)
    with (tmp_path / "list").open("rb") as file:
        tracemalloc.start()
        try:
            receive_manifest(file, blobs, "uploads/m", Settings())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert blobs.size("uploads/m") > 100_000_000
    assert peak < 80_000_000


def test_pictures_are_read_from_below_the_base(blobs: Blobs, root: Path) -> None:
    for name in ("a.jpg", "d 1/b%41.jpg"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(image_bytes(len(name)))
    source = kept(blobs, f"path\n./a.jpg\n{root}/d 1/b%41.jpg\n", root)
    assert contents(source) == {"a.jpg": image_bytes(5), "d 1/b%41.jpg": image_bytes(12)}


@pytest.mark.parametrize("path", ["sub\\4.jpg", ".\\sub\\4.jpg", "sub/4.jpg", "./sub\\4.jpg"])
def test_paths_of_windows_are_turned(path: str, blobs: Blobs, root: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "4.jpg").write_bytes(image_bytes(4))
    for text in (f"path\n{path}\n", json.dumps({"path": path})):
        assert contents(kept(blobs, text, root)) == {"sub/4.jpg": image_bytes(4)}


def test_a_file_with_a_backslash_in_its_name_is_that_file(blobs: Blobs, root: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "4.jpg").write_bytes(image_bytes(4))
    (root / "sub\\4.jpg").write_bytes(image_bytes(5))
    assert list(contents(kept(blobs, "path\nsub\\4.jpg\n", root)).values()) == [image_bytes(5)]


@pytest.mark.parametrize(("kept_as", "written_as"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_is_found_in_either_normal_form(kept_as: str, written_as: str, blobs: Blobs, root: Path) -> None:
    (root / normalize(kept_as, "rosé.jpg")).write_bytes(image_bytes(4))
    source = kept(blobs, f"path\n{normalize(written_as, 'rosé.jpg')}\n", root)
    assert contents(source) == {normalize("NFC", "rosé.jpg"): image_bytes(4)}


@pytest.mark.parametrize(
    "path",
    [
        *("../secret.jpg", "/etc/passwd", "a/../../b.jpg", "a//b.jpg", "..\\secret.jpg", "a\\..\\..\\b.jpg"),
        *("C:\\photos\\x.jpg", "c:/photos/x.jpg", "\\\\host\\share\\x.jpg", "//host/share/x.jpg", "\\x.jpg"),
        *("file:///photos/x.jpg", "file:x.jpg", "s3://bucket/x.jpg"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused(path: str, blobs: Blobs, root: Path) -> None:
    (entry,) = kept(blobs, f"path\n{path}\n", root).entries()
    assert isinstance(entry.rejected, UnsafePath)
    assert "relative to the base of the list" in entry.rejected.detail


def test_a_url_among_paths_is_told_as_one(blobs: Blobs, root: Path) -> None:
    (entry,) = kept(blobs, "path\nhttps://x.example/x.jpg\n", root).entries()
    assert "give it as url" in str(entry.rejected)


def test_spaces_that_a_database_fills_values_up_with_are_no_part_of_a_name(blobs: Blobs, root: Path) -> None:
    (root / "a.jpg").write_bytes(image_bytes(4))
    assert list(contents(kept(blobs, "path,label\na.jpg   ,rose\n", root)).values()) == [image_bytes(4)]


def test_a_link_below_the_base_is_refused_when_read(blobs: Blobs, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (root / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(UnsafePath):
        contents(kept(blobs, "path\na.jpg\n", root))


def test_a_picture_that_is_not_there_is_unreadable(blobs: Blobs, root: Path) -> None:
    with pytest.raises(Unreadable):
        contents(kept(blobs, "path\na.jpg\n", root))


def test_without_a_base_paths_are_refused(blobs: Blobs) -> None:
    assert rejected(kept(blobs, "path\na.jpg\n")) == {"a.jpg": "unsafe_path"}


def test_a_base_outside_the_roots_is_refused(blobs: Blobs, root: Path) -> None:
    with pytest.raises(SourceError):
        kept(blobs, "path\na.jpg\n", root, import_roots=[])


def test_urls_are_off_by_default(blobs: Blobs) -> None:
    source = kept(blobs, "url\nhttp://pictures.example/a.jpg\n")
    assert rejected(source) == {"http://pictures.example/a.jpg": "address_refused"}
    with pytest.raises(AddressRefused):
        source.read('{"url": "http://pictures.example/a.jpg"}')


def test_a_url_is_shown_without_its_secrets_and_read_with_them(blobs: Blobs) -> None:
    text = "https://pictures.example/d/a.jpg?signature=secret#x"
    (entry,) = kept(blobs, f"url\n{text}\n", import_urls=True).entries()
    assert (entry.name, entry.rejected) == ("https://pictures.example/d/a.jpg", None)
    assert json.loads(entry.locator) == {"url": text}


@pytest.mark.parametrize("url", ["ftp://x.example/a.jpg", "http://user:secret@x.example/a.jpg", "a.jpg"])
def test_what_is_no_plain_url_is_a_bad_line(url: str, blobs: Blobs) -> None:
    source = kept(blobs, f"url\n{url}\n", import_urls=True)
    assert wrong(source)[0].startswith("Line 2: ")
    assert "secret" not in str(list(rejected(source)))


def test_a_url_of_this_machine_is_refused_when_read(blobs: Blobs) -> None:
    source = kept(blobs, "url\nhttp://127.0.0.1/a.jpg\n", import_urls=True)
    with pytest.raises(AddressRefused):
        contents(source)


def test_a_refused_entry_read_all_the_same_is_refused_again(blobs: Blobs) -> None:
    for each in kept(blobs, "path,label\n../a.jpg\nx,y,z\n").entries():
        assert isinstance(each, Entry)
        with pytest.raises(ImageError):
            kept(blobs, "path\nx.jpg\n").read(each.locator)


def test_a_manifest_that_is_gone_is_said_to_be_gone(blobs: Blobs) -> None:
    with pytest.raises(SourceError):
        open_source(ManifestSource(type="manifest", blob_key="gone"), blobs, Settings())
