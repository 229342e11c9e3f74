"""Labels from a list: what it says is what is learned from, and what is wrong in it is named by its line."""

import json
from pathlib import Path

import pytest

from ml.data.dataset import load_dataset
from ml.data.split import split_by_roles, write_split
from tests.unit.ml.conftest import as_file, draw
from umbel.base.errors import BadDataset


@pytest.fixture
def photos(tmp_path) -> Path:
    """Images that no folder sorts."""
    (tmp_path / "flat").mkdir()
    for kind in range(4):
        for seed in range(4):
            (tmp_path / "flat" / f"{kind}-{seed}.jpg").write_bytes(as_file(draw(kind, seed)))
    return tmp_path


def listed(photos: Path, *lines: str, header: str = "path,label,role") -> Path:
    file = photos / "plates.csv"
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8-sig")
    return file


def rows(kinds, seeds, role=""):
    return [f"flat/{kind}-{seed}.jpg,kind {kind},{role}" for kind in kinds for seed in seeds]


def test_a_list_stands_beside_class_folders(photos, make_folder, limits):
    labels = listed(photos, *[f"{line}," for line in rows((0, 1), (0, 1))], header="path,label,taken_at,by")

    dataset = load_dataset([make_folder(classes=2), labels], limits)

    assert dataset.folder_names == ["shapes", "plates"]
    assert dataset.classes == ["kind0", "kind1", "kind 0", "kind 1"]
    assert dataset.relative_path(len(dataset.labels) - 1) == "flat/1-1.jpg"
    assert dataset.roles == []


def test_roles_fix_the_split(photos, limits, tmp_path):
    train, validation = rows((0, 1, 2), (0, 1, 2)), rows((0, 1, 2), (3,), "validation")
    labels = listed(photos, *train, *validation, *rows((3,), range(4), "held-out"))

    dataset = load_dataset([labels], limits)
    split = split_by_roles(dataset)
    write_split(tmp_path / "split.json", dataset, split, seed=1)

    found = {one["path"]: one["role"] for one in json.loads((tmp_path / "split.json").read_text())["pictures"]}
    assert len(found) == 16
    assert {path for path, role in found.items() if role == "validation"} == {
        f"flat/{kind}-3.jpg" for kind in (0, 1, 2)
    }
    assert {path for path, role in found.items() if role == "held-out"} == {f"flat/3-{seed}.jpg" for seed in range(4)}


def test_a_file_that_is_missing_is_skipped_and_told(photos, limits):
    dataset = load_dataset([listed(photos, *rows((0, 1), (0, 1)), "flat/none.jpg,kind 0,")], limits)

    assert [one.path.name for one in dataset.skipped] == ["none.jpg"]


@pytest.mark.parametrize(
    ("header", "line", "told"),
    [
        ("file,label", "flat/0-0.jpg,a", "header with the columns path and label"),
        ("path,label,role", "flat/0-0.jpg,a,test", "line 2: 'test' is no role"),
        ("path,label", "flat/0-0.jpg,", "line 2: a label is missing"),
        ("path,label", ",a", "line 2: a path is missing"),
        ("path,label,role", "flat/0-0.jpg,a,held-out\nflat/0-1.jpg,a,train", "'a' is held out in some lines"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(photos, limits, header, line, told):
    with pytest.raises(BadDataset, match=told):
        load_dataset([listed(photos, line, header=header)], limits)


def test_roles_that_leave_nothing_to_learn_are_refused(photos, limits):
    labels = listed(photos, *rows((0, 1), (0, 1), "validation"), *rows((2,), (0, 1)))

    with pytest.raises(BadDataset, match=r"1 class\(es\) are left to learn from"):
        split_by_roles(load_dataset([labels], limits))
