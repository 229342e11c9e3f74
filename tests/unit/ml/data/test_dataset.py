"""Reading folders of class folders, and splitting them without leaks."""

import shutil

import numpy as np
import pytest

from ml.data.dataset import class_files, draw_epoch, load_dataset
from ml.data.split import hold_out, split_off
from umbel.base.errors import BadDataset


def test_a_folder_of_class_folders_is_read(make_folder, limits):
    dataset = load_dataset([make_folder(classes=3, pictures=4)], limits, side=48)

    assert dataset.classes == ["kind0", "kind1", "kind2"]
    assert np.bincount(dataset.labels).tolist() == [4, 4, 4]
    assert {min(pixels.shape[:2]) for pixels in dataset.pixels} == {48}
    assert dataset.skipped == []


def test_unreadable_files_are_listed_and_skipped(make_folder, limits):
    folder = make_folder()
    (folder / "kind1" / "notes.txt").write_text("no picture")
    (folder / "kind2" / "empty.jpg").write_bytes(b"")

    dataset = load_dataset([folder], limits)

    assert {skipped.path.name for skipped in dataset.skipped} == {"notes.txt", "empty.jpg"}
    assert all(skipped.reason for skipped in dataset.skipped)
    assert len(dataset.pixels) == len(dataset.labels) == 18


def test_folders_are_read_by_the_rules_of_an_import(make_folder, limits):
    folder = make_folder()
    picture = next((folder / "kind1").iterdir())
    for name in ("@eaDir/a.jpg/THUMB.jpg", "kind1/._a.jpg", "cafe\u0301/1", "cafe\u0301/2.bin", "caf\u00e9/3.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, folder / name)
    (folder / "kind1" / "dangling.jpg").symlink_to("nowhere")
    (folder / "kind1" / "up").symlink_to("..")
    (folder / "kind2" / "link.jpg").symlink_to(picture)

    dataset = load_dataset([folder], limits)

    assert dataset.classes == ["caf\u00e9", "kind0", "kind1", "kind2"]
    assert np.bincount(dataset.labels).tolist() == [3, 6, 6, 7]
    assert {skipped.path.name for skipped in dataset.skipped} == {"@eaDir", "._a.jpg", "dangling.jpg", "up"}
    assert "@eaDir" in {path.parent.parent.name for path, _ in class_files(folder, include_hidden=True).files}


def test_one_class_is_refused(make_folder, limits):
    with pytest.raises(BadDataset, match="at least two"):
        load_dataset([make_folder(classes=1)], limits)


def test_the_only_image_of_a_class_is_skipped(make_folder, limits):
    folder = make_folder(classes=3)
    for path in sorted((folder / "kind1").iterdir())[1:]:
        path.unlink()

    dataset = load_dataset([folder], limits)

    assert dataset.classes == ["kind0", "kind2"]
    assert [(one.path.parent.name, one.reason) for one in dataset.skipped] == [
        ("kind1", "It is the only readable picture of its class.")
    ]


def test_classes_of_one_image_each_are_too_few(make_folder, limits):
    with pytest.raises(BadDataset, match="at least two"):
        load_dataset([make_folder(classes=3, pictures=1)], limits)


def test_a_folder_that_is_none_is_refused(tmp_path, limits):
    with pytest.raises(BadDataset, match="not a folder"):
        load_dataset([tmp_path / "nowhere"], limits)


def test_classes_of_different_folders_are_different(make_folder, limits):
    dataset = load_dataset([make_folder(classes=2, name="one"), make_folder(classes=3, name="two")], limits)

    assert dataset.classes == ["kind0", "kind1", "kind0", "kind1", "kind2"]
    assert dataset.folder_of_class().tolist() == [0, 0, 1, 1, 1]


def test_a_split_is_stratified_and_repeatable(make_folder, limits):
    dataset = load_dataset([make_folder(classes=3, pictures=10)], limits)
    everything = np.arange(30)

    rest, taken = split_off(dataset, everything, 0.3, seed=1)

    assert np.bincount(dataset.labels[taken]).tolist() == [3, 3, 3]
    assert sorted([*rest, *taken]) == everything.tolist()
    np.testing.assert_array_equal(taken, split_off(dataset, everything, 0.3, seed=1)[1])
    assert not np.array_equal(taken, split_off(dataset, everything, 0.3, seed=2)[1])


@pytest.mark.parametrize("seed", range(8))
def test_equal_bytes_never_sit_on_both_sides(make_folder, limits, seed):
    folder = make_folder(classes=3, pictures=8)
    for number in range(5):
        shutil.copy(folder / "kind0" / "0.jpg", folder / "kind0" / f"copy{number}.jpg")
    shutil.copy(folder / "kind0" / "1.jpg", folder / "kind2" / "mislabelled.jpg")
    dataset = load_dataset([folder], limits)

    rest, taken = split_off(dataset, np.arange(len(dataset.labels)), 0.4, seed)

    assert not {dataset.sha256[index] for index in rest} & {dataset.sha256[index] for index in taken}
    assert set(dataset.labels[rest]) == {0, 1, 2}


def test_whole_classes_are_held_out_of_the_richest_folder(make_folder, limits):
    dataset = load_dataset(
        [make_folder(classes=2, pictures=2, name="few"), make_folder(classes=5, pictures=3, name="many")], limits
    )

    others, unseen = hold_out(dataset, 1, seed=0)

    assert len(unseen) == 3
    assert set(dataset.folders[unseen]) == {1}
    assert not set(dataset.labels[unseen]) & set(dataset.labels[others])


def test_no_class_is_held_out_where_there_are_few(make_folder, limits):
    dataset = load_dataset([make_folder(classes=3)], limits)

    assert len(hold_out(dataset, 1, seed=0)[1]) == 0


@pytest.mark.parametrize(("balance", "expected"), [(1.0, 0.9), (0.0, 0.5), (0.5, 0.75)])
def test_balance_sets_how_often_a_class_is_drawn(balance, expected):
    labels = np.repeat([0, 1], [9000, 1000])

    rng = np.random.default_rng(0)
    drawn = labels[draw_epoch(labels, np.zeros_like(labels), rng, balance=balance, folder_balance=1.0)]

    assert (drawn == 0).mean() == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("folder_balance", "expected"), [(1.0, 0.9), (0.0, 0.5), (0.5, 0.75)])
def test_folder_balance_sets_how_often_a_folder_is_drawn_whatever_its_classes_get(folder_balance, expected):
    labels = np.repeat([0, 1, 2], [8100, 900, 1000])
    folders = np.repeat([0, 1], [9000, 1000])

    rng = np.random.default_rng(0)
    drawn = draw_epoch(labels, folders, rng, balance=0.0, folder_balance=folder_balance)

    assert (folders[drawn] == 0).mean() == pytest.approx(expected, abs=0.02)
    assert (labels[drawn] == 0).mean() == pytest.approx(expected / 2, abs=0.02)


def test_without_balancing_each_image_is_drawn_once():
    labels = np.repeat([0, 1, 2], [700, 299, 1])

    drawn = draw_epoch(labels, labels, np.random.default_rng(5), balance=1.0, folder_balance=1.0)

    assert sorted(drawn) == list(range(1000))
