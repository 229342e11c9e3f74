"""Symbolic links in a folder on the server: followed within the import roots, and named where they are not."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from umbel_files.walking import LEADS_BACK, LEADS_NOWHERE

from tests.unit.umbel.imports.sources.folders import IMAGE, write
from tests.unit.umbel.imports.sources.listing import assert_resumes, contents, rejected, skipped, taken
from umbel.base.errors import UnsafePath
from umbel.imports.sources import Entry
from umbel.imports.sources.folder import LEADS_OUT, Folder


def link(path: Path, target: str | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def reasons(source: Folder) -> dict[str, str]:
    return {each.name: each.rejected.detail for each in source.entries() if isinstance(each, Entry) and each.rejected}


def test_links_within_the_root_are_followed_and_read(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "store/ab/1.bin", "photos/real.jpg", "elsewhere/deep/2.jpg")
    link(root / "photos/one.jpg", "../store/ab/1.bin")
    link(root / "photos/nameless", root / "store/ab/1.bin")
    link(root / "photos/chain.jpg", "one.jpg")
    link(root / "photos/album", "../elsewhere")
    source = opened(root / "photos")
    names = ["album/deep/2.jpg", "chain.jpg", "nameless", "one.jpg", "real.jpg"]
    assert contents(source) == dict.fromkeys(names, IMAGE)
    assert_resumes(source)


def test_links_may_lead_into_another_root(tmp_path: Path, root: Path, opened: Callable[..., Folder]) -> None:
    write(tmp_path, "other/a.jpg")
    link(root / "album", tmp_path / "other")
    link(root / "b.jpg", tmp_path / "other/a.jpg")
    source = opened(import_roots=(str(root), str(tmp_path / "other")))
    assert contents(source) == {"album/a.jpg": IMAGE, "b.jpg": IMAGE}


def test_links_that_lead_out_are_refused_whether_something_is_there_or_not(
    tmp_path: Path, root: Path, opened: Callable[..., Folder]
) -> None:
    write(tmp_path, "outside/secret.jpg")
    write(root, "a.jpg")
    link(root / "file.jpg", tmp_path / "outside" / "secret.jpg")
    link(root / "folder", tmp_path / "outside")
    link(root / "gone", tmp_path / "gone")
    assert taken(opened()) == ["a.jpg"]
    assert reasons(opened()) == dict.fromkeys(["file.jpg", "folder", "gone"], LEADS_OUT)
    assert set(rejected(opened()).values()) == {"unsafe_path"}


def test_links_that_lead_nowhere_or_round_in_a_circle_are_named(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "photos/d/a.jpg")
    link(root / "photos/dangling.jpg", "nowhere")
    link(root / "photos/loop.jpg", "loop.jpg")
    link(root / "photos/d/up", "..")
    link(root / "photos/top", root)
    source = opened(root / "photos")
    assert taken(source) == ["d/a.jpg"]
    assert reasons(source) == {
        "d/up": LEADS_BACK,
        "dangling.jpg": LEADS_NOWHERE,
        "loop.jpg": LEADS_BACK,
        "top": LEADS_BACK,
    }


def test_a_linked_folder_that_is_listed_anyway_is_skipped(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "2024/a.jpg", ".store/b.jpg")
    link(root / "newest", "2024")
    link(root / "stored", ".store")
    assert taken(opened()) == ["2024/a.jpg", "stored/b.jpg"]
    assert skipped(opened()) == [".store", "newest"]


def test_linked_folders_do_not_multiply(root: Path, opened: Callable[..., Folder]) -> None:
    for level in range(40):  # two ways on from each: 2^40 paths
        write(root, f"store/{level}/a.jpg")
        link(root / f"store/{level}/left", f"../{level + 1}")
        link(root / f"store/{level}/right", f"../{level + 1}")
    link(root / "photos/first", "../store/0")
    source = opened(root / "photos")
    assert taken(source) == ["first/a.jpg"]
    assert list(rejected(source)) == ["first/left", "first/right"]


def test_a_file_swapped_for_a_link_after_listing_is_refused(
    tmp_path: Path, root: Path, opened: Callable[..., Folder]
) -> None:
    write(tmp_path, "secret.jpg")
    write(root, "a.jpg")
    source = opened()
    (entry,) = source.entries()
    (root / "a.jpg").unlink()
    link(root / "a.jpg", tmp_path / "secret.jpg")
    with pytest.raises(UnsafePath):
        source.read(entry.position)


def test_a_folder_swapped_for_a_link_after_listing_is_refused(
    tmp_path: Path, root: Path, opened: Callable[..., Folder]
) -> None:
    write(tmp_path, "outside/a.jpg", data=b"secret")
    write(root, "d/a.jpg")
    source = opened()
    (entry,) = source.entries()
    (root / "d").rename(root / "e")
    link(root / "d", tmp_path / "outside")
    with pytest.raises(UnsafePath):
        source.read(entry.position)


def test_a_folder_swapped_for_a_link_while_being_listed_is_refused(
    tmp_path: Path, root: Path, opened: Callable[..., Folder]
) -> None:
    write(tmp_path, "outside/secret.jpg")
    write(root, "a.jpg", "d/b.jpg")
    listing = opened().entries()
    next(listing)
    (root / "d").rename(tmp_path / "away")
    link(root / "d", tmp_path / "outside")
    assert [each.rejected.code for each in listing if each.rejected] == ["unsafe_path"]  # type: ignore[union-attr]


def test_a_link_swapped_after_it_was_resolved_is_not_followed(
    tmp_path: Path, root: Path, opened: Callable[..., Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "outside/a.jpg", data=b"secret")
    write(root, "store/a.jpg")
    link(root / "photos/a.jpg", "../store/a.jpg")
    source, realpath = opened(root / "photos"), os.path.realpath

    def swapping(path: str) -> str:
        real = realpath(path)
        if path.endswith("photos/a.jpg"):
            (root / "store").rename(root / "away")
            (root / "store").symlink_to(tmp_path / "outside")
        return real

    monkeypatch.setattr("os.path.realpath", swapping)
    with pytest.raises(UnsafePath):
        source.read("a.jpg")


def test_nothing_stays_open_behind_links(root: Path, opened: Callable[..., Folder]) -> None:
    write(root, "store/1.jpg", "store/2.jpg")
    link(root / "photos/album", "../store")
    link(root / "photos/dangling", "nowhere/at/all")
    source = opened(root / "photos")
    before = len(os.listdir("/proc/self/fd"))
    contents(source)
    listing = source.entries()
    next(listing)
    listing.close()  # type: ignore[attr-defined]
    assert len(os.listdir("/proc/self/fd")) == before
