"""Names of files: whether they may be pictures', and how they are shown and kept."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from umbel_files.names import (
    LONGEST_LABEL,
    LONGEST_NAME,
    folder_label,
    has_image_suffix,
    is_list,
    may_be_image,
    normalized,
    printable,
)

ON_DISK = st.binary(min_size=1, max_size=255).map(os.fsdecode)
ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))
COMBINING = st.text(
    alphabet=st.sampled_from("eoaE\u0301\u0308\u0323\u1100\u1161\u11a8\u0958\u2126가/\ud83d"), max_size=2500
)


@given(ON_DISK | ANY_TEXT | COMBINING)
def test_any_name_is_shown_as_text_that_a_database_keeps(name: str) -> None:
    shown = printable(name)
    assert "\0" not in shown
    assert 0 < len(shown) <= LONGEST_NAME or not name
    shown.encode()


@given(ON_DISK | ANY_TEXT | COMBINING)
def test_what_is_shown_is_normalized_and_stays_as_it_is(name: str) -> None:
    shown = printable(name)
    assert unicodedata.is_normalized("NFC", shown)
    assert printable(shown) == shown


@given(ON_DISK | ANY_TEXT | COMBINING)
def test_a_label_from_a_folder_is_one_that_the_api_takes(name: str) -> None:
    label = folder_label(name)
    assert (label is None) == (not name)
    if label:
        label.encode()
        assert len(label) <= LONGEST_LABEL
        assert normalized(label) == label
        assert "\0" not in label


def test_of_a_long_name_the_end_is_kept() -> None:
    assert printable("a/" * 1000 + "rose.jpg").endswith("a/rose.jpg")


def test_what_is_no_utf8_is_shown_as_a_question_mark() -> None:
    assert printable(os.fsdecode(b"caf\xe9/h\xf6he.jpg")) == "caf?/h?he.jpg"


@pytest.mark.parametrize("name", ["new\nline.jpg", "-rf.jpg", "emoji 👩‍🌾🇩🇪.jpg", "<b>.jpg", " x", "tab\t\x1b.jpg"])
def test_odd_names_are_kept_as_they_are(name: str) -> None:
    assert printable(name) == name


def test_a_decomposed_name_of_macos_is_composed() -> None:
    assert printable("cafe\u0301.jpg") == "caf\u00e9.jpg"


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "dir.v1/a.png", "x.webp", "x.HEIC", "x.jxl", "x.CR2", "a.gif"])
def test_a_pictures_suffix_is_known(name: str) -> None:
    assert has_image_suffix(name)
    assert may_be_image(name)


@pytest.mark.parametrize("name", ["a", "IMG_2024.05.01", "portrait.by Anna", "holiday.2024", "x.MP", "photo.jpg_large"])
def test_a_name_without_a_known_suffix_may_be_a_pictures(name: str) -> None:
    assert may_be_image(name)
    assert not has_image_suffix(name)


@pytest.mark.parametrize("name", ["a.txt", "a.mp4", "Thumbs.db", "a.jpg.json"])
def test_another_suffix_speaks_against_it(name: str) -> None:
    assert not may_be_image(name)


@pytest.mark.parametrize(
    ("name", "beside_others", "alone"),
    [
        ("list.csv", True, True),
        ("LIST.TSV", True, True),
        ("list.ndjson.gz", True, True),
        ("Unicode Text.txt", False, True),
        ("list.json.xz", False, True),
        ("photos.tar.gz", False, False),
        ("photos.gz", False, False),
        ("csv", False, False),
        ("a.csv.jpg", False, False),
    ],
)
def test_lists_are_known_by_their_suffix(name: str, beside_others: bool, alone: bool) -> None:
    assert (is_list(name, alone=False), is_list(name)) == (beside_others, alone)
