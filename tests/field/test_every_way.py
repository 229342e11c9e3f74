"""Every kind of picture by every way into the gallery: the same outcome, at once, and what is taken can be served."""

import io
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest
from PIL import Image

from tests.field import names
from tests.field.catalog import KINDS, colored, files
from tests.field.inputs import Input, listed, saved
from tests.field.profiles import patches
from tests.field.ways import REFUSED, TAKEN, WAYS, Outcome, Outcomes, Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

MANY = 20  # of kinds with as many files, a third is sent by HTTP, and each other way sends half of that


def sent(way: str, kind: str) -> list[Input]:
    """The files of a kind that are sent this way."""
    found = files(kind)
    if len(found) < MANY:
        return found
    return found[::3] if way == "HTTP" else found[3 * (list(WAYS).index(way) % 2) :: 6]


@pytest.fixture(scope="module")
def outcomes(service: Service) -> Callable[[str], Outcomes]:
    """What became of the files that were sent some way; each way is run once."""

    @cache
    def run(way: str) -> Outcomes:
        folder = service.home / way / "inputs"
        for each in (each for kind in KINDS for each in sent(way, kind)):
            names.write(folder / each.name, each.data)
        return WAYS[way](service, folder)

    return run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_right_by_every_way(outcomes: Callable[[str], Outcomes], way: str, kind: str) -> None:
    found = outcomes(way)
    wrong = {each.name: what for each in sent(way, kind) if (what := _wrong(each, found.get(each.name), way))}
    assert not wrong, listed(wrong)


def _wrong(wanted: Input, found: Outcome | None, way: str) -> str:
    """What is wrong with an outcome, in words; empty: nothing."""
    if found is None:
        return "" if way == "command" and wanted in files("no pictures") else "skipped without a word"
    told = f"{found.code} {found.reason}"
    if found.late:
        return f"taken at first, then {told}"
    if found.status == REFUSED:
        as_wanted = not wanted.media_type and (not wanted.refused or found.code in (wanted.refused, None))
        return "" if as_wanted and wanted.says in found.reason else f"refused: {told}"
    return "taken" if wanted.refused else _wrongly_told(wanted, found.image)


def _wrongly_told(wanted: Input, image: dict[str, Any] | None) -> str:
    if image is None:  # a search
        return ""
    told = image["media_type"], (image["width"], image["height"])
    right = wanted.media_type or told[0], wanted.size or told[1]
    return "" if told == right else f"told as {told}, not {right}"


@pytest.mark.parametrize("way", [way for way in WAYS if way != "HTTP"])
def test_all_ways_agree(outcomes: Callable[[str], Outcomes], way: str) -> None:
    """Also where either outcome would be right."""
    expected, found = outcomes("HTTP"), outcomes(way)
    differ = {name: (expected[name], each) for name, each in found.items() if each.status != expected[name].status}
    assert not differ, listed(differ)


def test_what_was_taken_is_served_in_the_size_told(service: Service, outcomes: Callable[[str], Outcomes]) -> None:
    """/file and /thumbnail are pictures, and width and height are those of /file."""

    def look(image: dict[str, Any]) -> str:
        small, file = (served(service, image, what) for what in ("thumbnail", "file"))
        told = (image["width"], image["height"])
        return "" if small and file and file.size == told else f"told as {told}, served as {small} and {file}"

    with ThreadPoolExecutor(4) as readers:
        taken = {name: each.image for name, each in outcomes("HTTP").items() if each.image}
        wrong = {name: what for name, what in zip(taken, readers.map(look, taken.values()), strict=True) if what}
    assert not wrong, listed(wrong)


def served(service: Service, image: dict[str, Any], what: str) -> Image.Image | None:
    """What is served of an image, decoded; None: nothing."""
    answer = service.http.get(f"/v1/images/{image['image_id']}/{what}")
    if not answer.is_success:
        return None
    shown = Image.open(io.BytesIO(answer.content))
    shown.load()
    return shown


def test_a_picture_with_a_profile_finds_what_looks_like_it(
    service: Service, outcomes: Callable[[str], Outcomes]
) -> None:
    """Its twin in sRGB, without a profile, is nearest and at a distance of near-duplicates."""
    taken, far = outcomes("HTTP"), {}
    looked = [each for each in colored() if each.file.name in taken]
    assert looked
    for each in looked:
        twin = saved(patches(each.srgb.round().astype("uint8"), "RGB"), "PNG")
        answer = service.http.post(
            "/v1/search", files={"file": twin}, data={"exact": "true", "max_distance": "0.02", "k": "50"}
        )
        image = taken[each.file.name].image
        if image is None or image["image_id"] not in [match["image_id"] for match in answer.json()["matches"]]:
            far[each.file.name] = "not among those within 0.02"
    assert not far, listed(far)


IMPORTING = [way for way in WAYS if way != "search"]


@pytest.mark.parametrize("way", IMPORTING)
def test_names_come_back_as_they_are(service: Service, way: str) -> None:
    """But in composed form; of those that are no Unicode, what can be told is."""
    folder = service.home / f"names {way}" / "pictures"
    controls = set(map(chr, (*range(32), *range(127, 160))))  # keys with these cannot be listed
    given = [name for name in (*names.WHOLE, *names.DECOMPOSED) if way != "bucket" or not controls & set(name)]
    names.named(folder, *given)
    found = WAYS[way](service, folder)
    wanted = {unicodedata.normalize("NFC", name) for name in given}
    assert {name for name, each in found.items() if each.status != TAKEN} == set()
    assert set(found) == wanted


@pytest.mark.parametrize("way", ["command", "server", "tar"])
def test_names_that_are_no_unicode_are_shown_with_question_marks(service: Service, way: str) -> None:
    folder = service.home / f"bytes {way}" / "pictures"
    names.named(folder, *names.NO_UNICODE)
    found = WAYS[way](service, folder)
    assert {name: each.status for name, each in found.items()} == dict.fromkeys(
        ("h?he.jpg", "caf?/1.jpg", "?\\.jpg", "half of a pair ???.jpg"), TAKEN
    )


@pytest.mark.parametrize("way", ["command", "server", "zip", "tar", "bucket"])
def test_what_lies_beside_pictures_is_skipped_and_counted(service: Service, way: str) -> None:
    folder = service.home / f"share {way}" / "share"
    names.share(folder)
    found = {name: each.status for name, each in WAYS[way](service, folder).items()}
    assert found == dict.fromkeys(names.MEANT, TAKEN)
    assert service.skipped > 0


def test_links_are_followed_alike(service: Service) -> None:
    """A store of pictures with links to them, as git-annex, DVC and model hubs keep them."""
    folder = service.home / "links" / "pictures"
    names.named(service.home / "links" / "store", "a.bin", "b.bin", seed=4400)
    names.named(folder, "real.jpg", seed=4410)
    for link, to in {"one.jpg": "../store/a.bin", "two.jpg": "../store/b.bin", "up": "..", "round": "."}.items():
        (folder / link).symlink_to(to)
    (folder / "nowhere.jpg").symlink_to("missing")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    here, there = (WAYS[way](service, folder) for way in ("command", "server"))
    assert {name for name, each in here.items() if each.status == TAKEN} >= {"real.jpg", "one.jpg", "two.jpg"}
    assert {name: (each.status, each.reason) for name, each in here.items()} == {
        name: (each.status, each.reason) for name, each in there.items()
    }


@pytest.mark.parametrize("way", ["command", "server", "zip", "tar", "bucket"])
def test_labels_of_folders_are_composed_and_whole(service: Service, way: str) -> None:
    labels = ["Zürich", "[red] :rose:", "日本"]
    folder = service.home / f"labels {way}" / "pictures"
    names.named(folder, *(f"{unicodedata.normalize('NFD', label)}/1.jpg" for label in labels), seed=4500)
    found = WAYS[way](service, folder, label_from_folder=True)
    assert sorted(str(each.image and each.image["label"]) for each in found.values()) == sorted(labels)
