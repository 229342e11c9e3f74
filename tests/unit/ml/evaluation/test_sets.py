"""What is judged: closed sets and held-out classes, without what was trained on."""

import hashlib
import json
from pathlib import Path

import pytest

from ml.data.split import read_split
from ml.evaluation.sets import select
from umbel.base.errors import BadDataset


@pytest.fixture
def garden(tmp_path) -> Path:
    """Three classes of three files; nothing here opens them."""
    return plant(tmp_path / "garden", ("lily", "phlox", "rose"), 3)


def plant(folder: Path, kinds: tuple[str, ...], each: int, prefix: str = "") -> Path:
    """Class folders of so many files each, which hold their class and number after the prefix."""
    for kind in kinds:
        for number in range(each):
            write(folder / kind / f"{number}.jpg", f"{prefix}{kind}{number}")
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def split_file(path: Path, roles: dict[str, str]) -> Path:
    pictures = [
        {
            "folder": "garden",
            "path": "?",
            "label": "?",
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "role": role,
        }
        for text, role in roles.items()
    ]
    return write(path, json.dumps({"version": 1, "seed": 1, "pictures": pictures}))


def names(one) -> list[str]:
    return [f"{picture.kind}{picture.path.stem}" for picture in one.pictures]


def test_a_folder_is_a_closed_set_of_all_its_pictures(garden):
    write(garden / "lily" / ".hidden.jpg", "hidden")
    write(garden / ".cache" / "x.jpg", "hidden too")
    write(garden / "readme.txt", "of no class")
    write(garden / "lily" / "deeper" / "9.jpg", "lily9")

    (one,) = select([garden]).sets

    assert (one.name, one.kind, one.classes) == ("garden", "closed set", ["lily", "phlox", "rose"])
    assert len(one.pictures) == 10
    assert one.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_of_equal_bytes_the_first_is_judged(garden):
    write(garden / "rose" / "again.jpg", "rose0")
    write(garden / "rose" / "mislabelled.jpg", "lily1")

    found = select([garden])

    assert (len(found.sets[0].pictures), found.duplicates) == (9, 2)
    assert "lily1" in names(found.sets[0])


def test_held_out_folders_are_sets_of_their_own(garden, tmp_path):
    for kind in ("rose", "daisy"):
        for number in range(2):
            write(tmp_path / "unseen" / kind / f"{number}.jpg", f"unseen {kind}{number}")

    found = select([garden], [tmp_path / "unseen"])

    assert [(one.name, one.kind) for one in found.sets] == [("garden", "closed set"), ("unseen", "held-out classes")]


def test_a_split_leaves_out_what_was_trained_on(garden, tmp_path):
    trained = {f"{kind}0": "train" for kind in ("lily", "phlox")}
    known = {f"{kind}1": "validation" for kind in ("lily", "phlox")}
    held_out = {f"rose{number}": "held-out" for number in range(3)}
    write(garden / "iris" / "0.jpg", "iris0")
    write(garden / "iris" / "1.jpg", "iris1")
    roles = read_split(split_file(tmp_path / "split.json", trained | known | held_out | {"iris0": "held-out"}))

    found = select([garden], roles=roles)

    closed, unseen = sorted(found.sets, key=lambda one: one.kind)
    assert (closed.name, names(closed)) == ("garden", ["iris1", "lily1", "lily2", "phlox1", "phlox2"])
    assert (unseen.name, names(unseen)) == ("held-out classes", ["iris0", "rose0", "rose1", "rose2"])
    assert (found.trained, found.new) == (2, 3)  # of the others no split knows iris1, lily2, phlox2


def test_bytes_that_were_trained_on_anywhere_are_left_out_everywhere(garden, tmp_path):
    path = split_file(tmp_path / "split.json", {"rose0": "train"})
    raw = json.loads(path.read_text())
    raw["pictures"].append(raw["pictures"][0] | {"role": "validation"})
    path.write_text(json.dumps(raw))

    assert select([garden], [garden], read_split(path)).trained == 2


@pytest.fixture
def shelf(tmp_path) -> Path:
    """A gallery for the garden: two of its classes, and one that it lacks."""
    return plant(tmp_path / "shelf", ("rose", "phlox", "tulip"), 4, prefix="shelf ")


def test_queries_ask_in_their_gallery_alone(garden, shelf):
    write(shelf / "rose" / "same.jpg", "rose0")

    found = select([garden], apart=(garden, shelf))

    closed, one = found.sets
    asks, there = one.protocol.asks, one.protocol.found
    assert (closed.kind, closed.protocol.is_leave_one_out) == ("closed set", True)
    assert (one.name, one.kind) == ("garden in shelf", "queries and gallery")
    assert one.classes == ["lily", "phlox", "rose", "tulip"]
    assert [p.path.is_relative_to(garden) for p in one.pictures] == asks.tolist() == (~there).tolist()
    assert (asks.sum(), there.sum(), found.duplicates) == (9, 12, 1)
    assert one.size == "9 queries, 12 pictures in the gallery, 4 classes"
    assert one.protocol.relevant(one.labels)[asks].tolist() == [0] * 3 + [4] * 3 + [4] * 3


def test_queries_that_were_trained_on_are_left_out_and_the_gallery_stays(garden, shelf, tmp_path):
    trained = ["rose0", "rose1", "shelf rose0", "shelf phlox0"]
    roles = read_split(split_file(tmp_path / "split.json", dict.fromkeys(trained, "train") | {"lily0": "held-out"}))

    found = select([], roles=roles, apart=(garden, shelf))

    (one,) = found.sets
    assert (one.protocol.asks.sum(), one.protocol.found.sum(), found.trained) == (7, 12, 2)


def test_queries_that_can_find_nothing_are_refused(garden, shelf, tmp_path):
    for number in range(3):
        write(tmp_path / "other" / "iris" / f"{number}.jpg", f"iris{number}")
    every = {f"{kind}{number}": "train" for kind in ("lily", "phlox", "rose") for number in range(3)}
    roles = read_split(split_file(tmp_path / "split.json", every))

    with pytest.raises(BadDataset, match=r"No query of garden in other .* of its class in the gallery\.$"):
        select([], apart=(garden, tmp_path / "other"))
    with pytest.raises(BadDataset, match="garden in shelf has no query left"):
        select([], roles=roles, apart=(garden, shelf))


def test_folders_and_classes_that_share_a_name_are_told_apart(garden, tmp_path):
    for kind in ("lily", "tulip"):
        for number in range(2):
            write(tmp_path / "other" / "garden" / kind / f"{number}.jpg", f"other {kind}{number}")
    both = [garden, tmp_path / "other" / "garden"]
    every = {f"{kind}{number}" for kind in ("lily", "phlox", "rose") for number in range(3)}
    others = {f"other {kind}{number}" for kind in ("lily", "tulip") for number in range(2)}
    roles = read_split(split_file(tmp_path / "split.json", dict.fromkeys(every | others, "held-out")))

    first, second = select(both).sets
    (unseen,) = select(both, roles=roles).sets

    assert first.name != second.name
    assert unseen.classes == ["lily (1)", "lily (2)", "phlox", "rose", "tulip"]


def test_what_cannot_be_judged_is_said_in_one_line(garden, tmp_path):
    (tmp_path / "empty" / "rose").mkdir(parents=True)
    write(tmp_path / "one" / "rose" / "0.jpg", "a rose")
    write(tmp_path / "one" / "rose" / "1.jpg", "another")
    write(tmp_path / "lonely" / "rose" / "0.jpg", "a rose")
    write(tmp_path / "lonely" / "lily" / "0.jpg", "a lily")
    everything = {f"{kind}{number}": "train" for kind in ("lily", "phlox", "rose") for number in range(3)}
    trained = read_split(split_file(tmp_path / "split.json", everything))

    for folder, words in (
        ("empty", "no pictures"),
        ("one", "two are needed"),
        ("lonely", "none has another picture of its class"),
    ):
        with pytest.raises(BadDataset, match=words):
            select([tmp_path / folder])
    with pytest.raises(BadDataset, match="all 9 pictures were trained on"):
        select([garden], roles=trained)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 2, "pictures": []}', '{"version": 1, "pictures": [{"role": 1}]}']
)
def test_a_split_that_cannot_be_read_is_refused(tmp_path, text):
    with pytest.raises(BadDataset, match="cannot be read"):
        read_split(write(tmp_path / "split.json", text))
    with pytest.raises(BadDataset, match="No such file"):
        read_split(tmp_path / "none.json")
