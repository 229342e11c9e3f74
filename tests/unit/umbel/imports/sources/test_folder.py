"""A folder on the server: listed in order, read safely, whatever happens to it meanwhile."""

import os
import resource
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.images import image_bytes
from tests.unit.umbel.imports.sources.folders import IMAGE, write
from tests.unit.umbel.imports.sources.listing import assert_resumes, contents, rejected, skipped, taken
from umbel.base import descent
from umbel.base.errors import FileTooLarge, ImageError, SourceError, TransientError, Unreadable, UnsafePath
from umbel.base.settings import Settings
from umbel.imports.sources.folder import Folder


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


def test_pictures_come_in_the_order_of_their_paths(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "b.jpg", "a/z.png", "a/b/c.webp", "a.jpg", "a-b/x.jpg", "ä.jpg")
    assert taken(opened()) == ["a/b/c.webp", "a/z.png", "a-b/x.jpg", "a.jpg", "b.jpg", "ä.jpg"]


def test_every_entry_can_be_read_from_its_locator(root: Path, opened: Callable[..., Folder]) -> None:
    names = ["a/1.jpg", "b 2%41.jpg", "ü/3.jpg"]
    for number, name in enumerate(names):
        write(root, name, data=image_bytes(number))
    assert contents(opened()) == {name: image_bytes(number) for number, name in enumerate(names)}


def test_many_threads_read_at_once(root: Path, opened: Callable[..., Folder]) -> None:
    for number in range(20):
        write(root, f"d{number % 3}/{number:02}.jpg", data=bytes([number]) * 1000)
    source = opened()
    locators = [each.position for each in source.entries()] * 10
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(source.read, locators))
    assert found == [bytes([int(locator[-6:-4])]) * 1000 for locator in locators]


def test_a_name_that_is_no_utf8_is_listed_and_read(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, os.fsdecode(b"caf\xe9.jpg"))
    (entry,) = opened().entries()
    assert (entry.name, opened().read(entry.position)) == ("caf?.jpg", IMAGE)


def test_files_without_a_suffix_are_known_by_their_first_bytes(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "picture", "picture.dat")
    write(root, "text", "text.dat", data=b"hello, I am no picture")
    write(root, "empty", data=b"")
    assert taken(opened()) == ["picture", "picture.dat"]
    assert skipped(opened()) == ["empty", "text", "text.dat"]


def test_hidden_files_and_folders_are_passed_over(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, ".hidden.jpg", ".git/a.jpg", "a.jpg")
    assert taken(opened()) == ["a.jpg"]
    assert skipped(opened()) == [".git", ".hidden.jpg"]


def test_pipes_and_sockets_are_passed_over_without_being_opened(
    tmp_path: Path, root: Path, opened: Callable[..., Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(root / "pipe.jpg")
    monkeypatch.chdir(root)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        assert skipped(opened()) == ["pipe.jpg", "socket.jpg"]


def test_a_pipe_in_place_of_a_listed_file_does_not_hang(root: Path, opened: Callable[..., Folder]) -> None:
    os.mkfifo(root / "a.jpg")
    with pytest.raises(Unreadable):
        opened().read("a.jpg")


@pytest.mark.parametrize("locator", ["../secret.jpg", "a/../../secret.jpg", "/etc/passwd", "a/%2E%2E/b", ""])
def test_a_locator_cannot_lead_out(locator: str, opened: Callable[..., Folder]) -> None:
    with pytest.raises(UnsafePath):
        opened().read(locator)


def test_a_file_that_is_gone_is_unreadable(opened: Callable[..., Folder]) -> None:
    with pytest.raises(Unreadable):
        opened().read("gone.jpg")


def test_what_may_not_be_read_is_listed_as_refused(
    root: Path, opened: Callable[..., Folder], request: pytest.FixtureRequest
) -> None:
    write(root, "a.jpg", "nameless", "d/b.jpg")
    for path in (root / "a.jpg", root / "nameless", root / "d"):
        path.chmod(0)
    source = opened()
    request.getfixturevalue("unprivileged")
    assert rejected(source) == dict.fromkeys(["a.jpg", "d", "nameless"], "unreadable")


def test_too_large_a_file_is_refused_unread(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "a.jpg", data=b"x" * 101)
    assert rejected(opened(max_bytes=100)) == {"a.jpg": "file_too_large"}


def test_a_file_that_grew_after_listing_is_refused(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "a.jpg", data=b"x" * 101)
    with pytest.raises(FileTooLarge):
        opened(max_bytes=100).read("a.jpg")


def test_a_folder_that_is_too_deep_is_refused(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "/".join(["d"] * 105) + "/a.jpg")
    assert list(rejected(opened()).values()) == ["unreadable"]


def test_a_file_in_place_of_a_folder_ends_the_listing_clearly(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "a.jpg")
    with pytest.raises(SourceError, match="not a directory"):
        opened(root / "a.jpg")


def test_a_folder_larger_than_the_window_keeps_its_order(
    root: Path, opened: Callable[..., Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number:03}.jpg" for number in range(50)]
    write(root, *reversed(names))
    monkeypatch.setattr(descent, "WINDOW", 7)
    assert taken(opened()) == names
    assert_resumes(opened())


def test_listing_goes_on_behind_a_file_that_is_gone(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "a/1.jpg", "a/3.jpg", "b.jpg")
    assert [each.name for each in opened().entries("a/2.jpg")] == ["a/3.jpg", "b.jpg"]


def test_nothing_stays_open_when_a_listing_is_given_up(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "a/b/c/1.jpg", "a/b/c/2.jpg")
    source = opened()
    before = len(os.listdir("/proc/self/fd"))
    listing = source.entries()
    next(listing)
    listing.close()  # type: ignore[attr-defined]
    assert len(os.listdir("/proc/self/fd")) == before


PART = st.text(st.sampled_from("ab.-é"), min_size=1, max_size=3).filter(lambda part: part.strip("."))


@given(paths=st.sets(st.lists(PART, min_size=1, max_size=4).map("/".join), max_size=12))
@examples(60)
def test_a_listing_can_be_resumed_anywhere(paths: set[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("tree")
    for path in sorted(paths):
        if not any(parent.is_file() for parent in (root / path).parents) and not (root / path).is_dir():
            write(root, path)
    source = Folder(str(root), Settings(import_roots=(str(root),)))
    try:
        assert_resumes(source)
    finally:
        source.close()


@pytest.mark.parametrize("path", ["relative", "/", "/etc", "{root}/../other", "{root}x", "{root}/link"])
def test_only_what_lies_below_a_root_is_opened(
    path: str, tmp_path: Path, root: Path, opened: Callable[..., Folder]
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "rootx").mkdir()
    (root / "link").symlink_to(tmp_path / "other")
    with pytest.raises(SourceError):
        opened(path.format(root=root))


def test_a_link_that_stays_below_the_root_may_be_the_source(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "real/a.jpg")
    (root / "link").symlink_to(root / "real")
    assert taken(opened(root / "link")) == ["a.jpg"]


def test_without_roots_no_folder_is_opened(root: Path) -> None:
    with pytest.raises(SourceError):
        Folder(str(root), Settings())


def test_refusals_say_nothing_about_what_lies_outside(tmp_path: Path, opened: Callable[..., Folder]) -> None:
    (tmp_path / "there").mkdir()
    messages = []
    for name in ("there", "gone!"):
        with pytest.raises(SourceError) as failure:
            opened(tmp_path / name)
        messages.append(failure.value.detail.replace(name, ""))
    assert messages[0] == messages[1]


def test_errors_of_reading_are_of_the_promised_kind(root: Path, opened: Callable[..., Folder]) -> None:
    (root / "d").mkdir()
    with pytest.raises(ImageError):
        opened().read("d")


def test_a_machine_out_of_file_handles_is_worth_another_try(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "d/a.jpg")
    source = opened()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        with pytest.raises(TransientError):
            source.read("d/a.jpg")
        with pytest.raises(TransientError):
            list(source.entries())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_what_programs_keep_beside_pictures_is_skipped_or_taken_if_asked_for(
    root: Path, opened: Callable[..., Folder]
) -> None:
    write(root, "a.jpg", "._a.jpg", "@eaDir/a.jpg/THUMB.jpg", "$RECYCLE.BIN/$R1.jpg", "Thumbs.db")
    assert taken(opened()) == ["a.jpg"]
    assert skipped(opened()) == ["$RECYCLE.BIN", "._a.jpg", "@eaDir", "Thumbs.db"]
    everything = ["$RECYCLE.BIN/$R1.jpg", "._a.jpg", "@eaDir/a.jpg/THUMB.jpg", "a.jpg"]
    assert taken(opened(include_hidden=True)) == everything
