"""Names are judged before they are used."""

import ntpath
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.imports.sources.paths import (
    LONGEST,
    has_image_suffix,
    hidden,
    is_archive,
    may_be_image,
    printable,
    quoted,
    unquoted,
    unsafe,
    unsafe_in_archive,
)

TRICKY = st.lists(
    st.sampled_from(["..", ".", "/", "\\", "a", "b.jpg", "C:", "\0", "...", " ", "", "//", "~", "$HOME"]), max_size=8
).map("".join)


@given(TRICKY | st.text())
def test_a_path_that_passes_stays_inside(name: str) -> None:
    if unsafe(name) is None:
        assert posixpath.normpath(f"/root/{name}").startswith("/root/")
        assert posixpath.join("/root", name) == f"/root/{name}"


@given(TRICKY | st.text())
def test_a_path_from_an_archive_that_passes_stays_inside_on_windows_too(name: str) -> None:
    if unsafe_in_archive(name) is None:
        assert posixpath.normpath(f"/root/{name}").startswith("/root/")
        assert ntpath.normpath(ntpath.join("C:\\root", name)).startswith("C:\\root\\")


@pytest.mark.parametrize("name", ["a.jpg", "a/b c.jpg", "./a.jpg", "...jpg", "a..b/ä.jpg", "~/x.jpg"])
def test_ordinary_names_pass(name: str) -> None:
    assert unsafe_in_archive(name) is None


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../a.jpg", "a/../b.jpg", "a/..", "..\\a.jpg", "C:a.jpg", "c:/a.jpg", "a\0.jpg", "a//b"]
)
def test_names_that_lead_elsewhere_do_not(name: str) -> None:
    assert unsafe_in_archive(name)


@given(
    st.text(alphabet=st.characters(blacklist_categories=())) | st.binary().map(lambda b: b.decode("utf-8", "replace"))
)
def test_a_printable_name_can_be_kept_by_a_database(name: str) -> None:
    shown = printable(name)
    assert "\0" not in shown
    assert len(shown) <= LONGEST
    shown.encode()


def test_of_a_long_name_the_end_is_kept() -> None:
    assert printable("a/" * 1000 + "rose.jpg").endswith("a/rose.jpg")


@given(st.binary(min_size=1).map(lambda name: name.decode("utf-8", "surrogateescape")))
def test_a_quoted_path_is_ascii_and_comes_back(path: str) -> None:
    assert quoted(path).isascii()
    assert unquoted(quoted(path)) == path


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "dir.v1/a.png", "x.webp"])
def test_a_pictures_suffix_is_known(name: str) -> None:
    assert has_image_suffix(name)
    assert may_be_image(name)


@pytest.mark.parametrize("name", ["a", "IMG_2024.05.01", "portrait.by Anna", "holiday.2024"])
def test_a_name_without_a_suffix_may_be_a_picture(name: str) -> None:
    assert may_be_image(name)


@pytest.mark.parametrize("name", ["a.txt", "a.mp4", "Thumbs.db", "a.jpg.json", "a.gif"])
def test_another_suffix_speaks_against_it(name: str) -> None:
    assert not may_be_image(name)


@pytest.mark.parametrize("name", [".a.jpg", "x/.git/a.jpg", "__MACOSX/._a.jpg", "./.DS_Store"])
def test_hidden_files_are_known(name: str) -> None:
    assert hidden(name)


def test_visible_files_are_not_hidden() -> None:
    assert not hidden("./a/b.c/d.jpg")


@pytest.mark.parametrize("name", ["a.zip", "b.TAR.GZ", "c.tgz", "d.7z", "e.rar"])
def test_archives_are_known_by_their_suffix(name: str) -> None:
    assert is_archive(name)
