"""Folders of this machine: what is found there, what is not, and by which name it is sent."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from umbel_client.folder import Listing, list_images
from umbel_files.names import printable
from umbel_files.walking import LEADS_BACK, LEADS_NOWHERE, LINKED_TWICE

from tests.examples import examples
from tests.images import image_bytes
from umbel.base.settings import Settings
from umbel.imports.sources import Entry, Skipped
from umbel.imports.sources.folder import Folder

IMAGE = image_bytes(1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    path.mkdir()
    return path


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """As a user whom file permissions bind, where the tests run as root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def write(folder: Path, *names: str, data: bytes = IMAGE) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def names(listing: Listing) -> list[str]:
    return [image.name for image in listing.images]


def test_images_are_known_by_their_bytes_and_labelled_by_their_folder(photos: Path) -> None:
    write(photos, "b/2.jpg", "a/1.bin", "a/nameless")
    write(photos, "a/notes.txt", "a/text", data=b"no picture")
    write(photos, "a/empty.jpg", data=b"")  # that it is damaged is told by the service
    found = list_images([photos], label_from_folder=True)
    assert [(image.name, image.label) for image in found.images] == [
        ("photos/a/1.bin", "a"),
        ("photos/a/empty.jpg", "a"),
        ("photos/a/nameless", "a"),
        ("photos/b/2.jpg", "b"),
    ]
    assert (found.skipped, found.rejected) == (["photos/a/notes.txt", "photos/a/text"], {})


def test_a_picture_of_a_kind_that_is_not_taken_is_named(photos: Path) -> None:
    write(photos, "a.jxl", "nameless", data=b"\xff\x0a" + bytes(20))
    write(photos, "b.svg", data=b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert list_images([photos]).rejected == {
        "photos/a.jxl": "JPEG XL is not supported yet.",
        "photos/b.svg": "SVG is not supported yet.",
        "photos/nameless": "JPEG XL is not supported yet.",
    }


def test_what_programs_keep_beside_pictures_is_counted_or_taken_if_asked_for(photos: Path) -> None:
    write(photos, "a.jpg", ".b.jpg", "@eaDir/a.jpg/THUMB_M.jpg", "@eaDir/a.jpg/THUMB_S.jpg", "Thumbs.db")
    found = list_images([photos])
    assert (names(found), found.skipped) == (
        ["photos/a.jpg"],
        ["photos/.b.jpg", "photos/@eaDir", "photos/Thumbs.db"],
    )
    everything = list_images([photos], include_hidden=True)
    assert (len(everything.images), everything.skipped) == (4, ["photos/Thumbs.db"])


def test_a_file_is_taken_by_its_own_name_wherever_it_lies(tmp_path: Path) -> None:
    write(tmp_path, "@eaDir/.one.txt")
    assert names(list_images([tmp_path / "@eaDir" / ".one.txt"])) == [".one.txt"]
    assert names(list_images([tmp_path / "@eaDir"], include_hidden=True)) == []


def test_links_are_followed_and_named_where_they_are_not(photos: Path) -> None:
    write(photos.parent, "store/ab/1.bin", "elsewhere/deep/2.jpg")
    write(photos, "real/3.jpg")
    for name, target in {
        "one.jpg": "../store/ab/1.bin",
        "album": "../elsewhere",
        "again": "real",
        "dangling.jpg": "nowhere",
        "loop.jpg": "loop.jpg",
        "up": "..",
        "real/top": "..",
    }.items():
        (photos / name).symlink_to(target)
    (photos.parent / "elsewhere" / "further").symlink_to("../store")
    found = list_images([photos])
    assert names(found) == ["photos/album/deep/2.jpg", "photos/one.jpg", "photos/real/3.jpg"]
    assert found.skipped == ["photos/again"]
    assert found.rejected == {
        "photos/album/further": LINKED_TWICE,
        "photos/dangling.jpg": LEADS_NOWHERE,
        "photos/loop.jpg": LEADS_BACK,
        "photos/real/top": LEADS_BACK,
        "photos/up": LEADS_BACK,
    }


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(photos: Path, request: pytest.FixtureRequest) -> None:
    write(photos, "0.jpg", "lost+found/x.jpg", "secret", "secret.jpg", "zoo/last.jpg")
    write(photos, "listed only/x.jpg", "listed only/y")
    for name in ("lost+found", "secret", "secret.jpg"):
        (photos / name).chmod(0)
    (photos / "listed only").chmod(0o444)
    for folder in photos.parents[:-2]:  # below /tmp: pytest's own, closed to other users
        folder.chmod(folder.stat().st_mode | 0o055)
    request.getfixturevalue("unprivileged")
    found = list_images([photos, photos / "secret.jpg", photos / "lost+found" / "x.jpg"])
    assert names(found) == ["photos/0.jpg", "photos/zoo/last.jpg"]
    reason = "It cannot be read: permission denied."
    rejected = ("lost+found", "listed only/x.jpg", "listed only/y", "secret", "secret.jpg")
    rejected = ("secret.jpg", "x.jpg", *(f"photos/{name}" for name in rejected))
    assert found.rejected == dict.fromkeys(rejected, reason)


def test_pipes_and_sockets_are_skipped_unopened(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(photos / "pipe.jpg")
    monkeypatch.chdir(photos)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        assert list_images([photos]).skipped == ["photos/pipe.jpg", "photos/socket.jpg"]


def test_a_folder_that_is_too_deep_is_named(photos: Path) -> None:
    write(photos, "/".join(["d"] * 105) + "/a.jpg")
    assert len(list_images([photos]).rejected) == 1


def test_a_name_that_is_no_utf8_is_sent_as_it_is_shown(photos: Path) -> None:
    write(photos, os.fsdecode(b"caf\xe9/h\xf6he.jpg"))
    (image,) = list_images([photos], label_from_folder=True).images
    assert (image.name, image.label, image.path.read_bytes()) == ("photos/caf?/h?he.jpg", "caf?", IMAGE)


ON_DISK = st.binary(min_size=1, max_size=200).filter(lambda name: not {0, 47} & set(name) and name not in (b".", b".."))


@given(
    raw=st.sets(ON_DISK | st.text(st.sampled_from("e\u0301.@-\n "), min_size=1, max_size=5).map(str.encode), max_size=8)
)
@examples(60)
def test_any_names_are_listed_as_a_servers_own_folder_is(
    raw: set[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    top = tmp_path_factory.mktemp("tree")
    write(top, *(os.fsdecode(name) for name in raw - {b".", b".."}))
    here = list_images([top])
    source = Folder(str(top), Settings(import_roots=(str(top.parent),)))
    try:
        listed = list(source.entries())
        taken = [each for each in listed if isinstance(each, Entry)]
        assert names(here) == [printable(f"{top.name}/{entry.name}") for entry in taken]
        assert here.skipped == [f"{top.name}/{each.name}" for each in listed if isinstance(each, Skipped)]
        assert [source.read(entry.locator) for entry in taken] == [IMAGE] * len(taken)
    finally:
        source.close()
    for image in here.images:
        image.name.encode()
