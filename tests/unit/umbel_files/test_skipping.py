"""What is passed over beside pictures: what systems and programs keep there, and nothing that people call a picture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from umbel_files.skipping import skipped_path

KEPT_BY_PROGRAMS = [
    "share/@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg",
    "#recycle/a.jpg",
    "#snapshot/GMT-2026/a.jpg",
    "share/$Recycle.Bin/$R1.jpg",
    "share/.Trash-1000/files/a.jpg",
    ".stversions/a~20260101.JPG",
    "share/._a.jpg",
    "share/thumbs.DB",
    "Icon\r",
    "./__MACOSX/a.jpg",
    "Previews.lrdata/0/a.jpg",
    "My Photos.photoslibrary/resources/derivatives/a.jpg",
    "appdata_ocx1y2/preview/1/2.jpg",
    "holiday.jpg.crdownload",
]
OF_PEOPLE = [
    "a.jpg",
    "./share/recycle/a.jpg",
    "#recycle.jpg",
    "Thumbs.db/a.jpg",
    "trip.part/a.jpg",
    "thumbs/a.jpg",
    "Recycled/a.jpg",
    "lost+found/x.jpg",
    "My Photos.photoslibrary/originals/0/a.heic",
    "a..b/-rf.jpg",
    "snapshot/a.jpg",
    "new\nline.jpg",
]


@pytest.mark.parametrize("path", KEPT_BY_PROGRAMS)
def test_what_programs_keep_beside_pictures_is_skipped(path: str) -> None:
    assert skipped_path(path)


@pytest.mark.parametrize("path", OF_PEOPLE)
def test_what_people_call_their_pictures_is_not(path: str) -> None:
    assert not skipped_path(path)


def test_what_is_asked_for_by_its_own_name_is_not_skipped() -> None:
    assert not skipped_path("a.jpg", top="@eaDir")
    assert skipped_path("database/a.jpg", top="Photos Library.photoslibrary")
    assert not skipped_path("originals/a.jpg", top="Photos Library.photoslibrary")


@given(st.lists(st.text(st.characters(exclude_characters="/")), min_size=1, max_size=4), st.integers(0, 3))
def test_what_lies_in_a_skipped_folder_is_skipped(parts: list[str], at: int) -> None:
    assert skipped_path("/".join([*parts[:at], "@eaDir", *parts[at:]]))
