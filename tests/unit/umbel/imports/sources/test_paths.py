"""Names are judged before they are used."""

import ntpath
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.base.roots import quoted, unquoted, unsafe
from umbel.imports.sources.archive_names import is_archive, unsafe_in_archive

TRICKY = st.lists(
    st.sampled_from(["..", ".", "/", "\\", "a", "b.jpg", "C:", "\0", "...", " ", "", "//", "~", "$HOME"]), max_size=8
).map("".join)


@given(TRICKY | st.text())
def test_a_path_that_passes_stays_inside(name: str) -> None:
    if unsafe(name) is None:
        assert posixpath.normpath(f"/root/{name}").startswith("/root/")
        assert posixpath.join("/root", name) == f"/root/{name}"


@given((TRICKY | st.text()).filter(lambda name: name[1:2] != ":" or (name[0].isascii() and name[0].isalpha())))
def test_a_path_from_an_archive_that_passes_stays_inside_on_windows_too(name: str) -> None:
    if unsafe_in_archive(name) is None:
        assert posixpath.normpath(f"/root/{name}").startswith("/root/")
        assert ntpath.normpath(ntpath.join("C:\\root", name)).startswith("C:\\root\\")


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "a/b c.jpg", "./a.jpg", "...jpg", "1: a.jpg", "a//b", "a/./b.jpg", "a\\b.jpg", "a..b/ä.jpg", "~/x.jpg"],
)
def test_ordinary_names_pass(name: str) -> None:
    assert unsafe_in_archive(name) is None


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../a.jpg", "a/../b.jpg", "a/..", "..\\a.jpg", "C:a.jpg", "c:/a.jpg", "a\0.jpg", "\\\\host\\a"],
)
def test_names_that_lead_elsewhere_do_not(name: str) -> None:
    assert unsafe_in_archive(name)


@given(st.binary(min_size=1).map(lambda name: name.decode("utf-8", "surrogateescape")))
def test_a_quoted_path_is_ascii_and_comes_back(path: str) -> None:
    assert quoted(path).isascii()
    assert unquoted(quoted(path)) == path


@pytest.mark.parametrize("name", ["a.zip", "b.TAR.GZ", "c.tgz", "d.7z", "e.rar"])
def test_archives_are_known_by_their_suffix(name: str) -> None:
    assert is_archive(name)
