"""Groups that splits and folds keep whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.data.dataset import Dataset, grouped, groups_of_equal
from ml.data.split import draw_split, folds, hold_out, split_by_roles, split_off
from tests.examples import examples
from umbel.base.errors import BadDataset


def dataset_of(labels, groups=None) -> Dataset:
    """A data set without pictures: labels and groups are all that a split looks at."""
    labels = np.asarray(labels, dtype=np.intp)
    empty = Dataset(
        paths=[Path(f"{index}.jpg") for index in range(len(labels))],
        pixels=[np.zeros((1, 1, 3), np.uint8)] * len(labels),
        sha256=[f"{index:064x}" for index in range(len(labels))],
        labels=labels,
        folders=np.zeros(len(labels), np.intp),
        classes=[str(label) for label in range(labels.max(initial=-1) + 1)],
        folder_names=["drawn"],
        skipped=[],
    )
    return empty if groups is None else grouped(empty, np.asarray(groups, dtype=np.intp))


labelled = st.integers(1, 60).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(0, 4), min_size=count, max_size=count),
        st.lists(st.integers(0, 30), min_size=count, max_size=count),
    )
)


@examples(25)
@given(labelled, st.floats(0, 0.9), st.integers(0, 99))
def test_a_split_keeps_groups_whole_and_every_class_in_the_rest(drawn, share, seed):
    dataset = dataset_of(*drawn)
    everything = np.arange(len(dataset.labels))

    rest, taken = split_off(dataset, everything, share, seed)

    assert sorted([*rest, *taken]) == everything.tolist()
    assert not set(dataset.groups[rest]) & set(dataset.groups[taken])
    assert set(dataset.labels[rest]) == set(dataset.labels)


def test_a_share_of_the_groups_of_each_class_is_taken():
    dataset = dataset_of(np.repeat([0, 1], 20), np.concatenate([np.arange(20) // 2, 10 + np.arange(20)]))

    _, taken = split_off(dataset, np.arange(40), 0.3, seed=0)

    assert np.bincount(dataset.labels[taken]).tolist() == [6, 6]


@pytest.mark.parametrize("pictures", range(2, 8))
def test_a_fifth_of_small_classes_is_taken_too(pictures):
    dataset = dataset_of(np.repeat(np.arange(100), pictures))

    rest, taken = split_off(dataset, np.arange(100 * pictures), 0.2, seed=0)

    assert len(taken) == pytest.approx(20 * pictures, abs=1)
    assert len(np.unique(dataset.labels[rest])) == 100


@pytest.mark.parametrize("seed", range(5))
def test_classes_are_held_out_with_all_that_shows_the_same(seed):
    groups = np.arange(60)
    groups[::10] = 0  # one picture in every other class shows one and the same thing
    dataset = dataset_of(np.repeat(np.arange(12), 5), groups)

    others, aside = hold_out(dataset, 3, seed)

    assert len(np.intersect1d(dataset.groups[others], dataset.groups[aside])) == 0
    assert len(others) + len(aside) == 60
    split = draw_split(dataset, validation=0.2, held_out_classes=3, seed=seed)
    parts = [set(dataset.groups[part]) for part in (split.train, split.validation, split.held_out)]
    assert sum(map(len, parts)) == len(set.union(*parts))


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_what_shows_the_same_as_a_picture_that_is_only_judged_on_is_not_learnt_from(seed, listed):
    groups = np.arange(100)
    groups[[3, 17, 40]] = [80, 80, 95]  # two of a class that is learnt from, one of another
    plain = dataset_of(np.repeat(np.arange(20), 5), groups)
    roles = ["validation" if index % 5 == 0 else "train" for index in range(100)] if listed else []
    dataset = replace(plain, folders=np.repeat([0, 1], [75, 25]), aside=frozenset({1}), roles=roles)

    drawn = {"validation": 0.2, "held_out_classes": 3, "seed": seed}
    split = split_by_roles(dataset) if listed else draw_split(dataset, **drawn)

    assert split.aside.tolist() == [3, 17, 40, *range(75, 100)]
    assert {split.roles()[index] for index in split.aside} == {"held-out"}
    assert sorted(split.roles()) == list(range(100))
    if not listed:
        assert len(np.unique(dataset.labels[split.held_out])) == 3
        assert split.held_out.max() < 75


def test_a_folder_that_is_both_learnt_from_and_only_judged_on_leaves_nothing_to_learn():
    labels, groups = np.repeat(np.arange(4), 5), np.tile(np.arange(10), 2)
    dataset = replace(dataset_of(labels, groups), folders=np.repeat([0, 1], 10), aside=frozenset({1}))

    with pytest.raises(BadDataset, match=r"^0 class\(es\) are left to learn from"):
        draw_split(dataset, validation=0.2, held_out_classes=0, seed=1)


@examples(25)
@given(labelled, st.integers(2, 6), st.integers(0, 99))
def test_folds_part_the_pictures_and_keep_groups_whole(drawn, count, seed):
    dataset = dataset_of(*drawn)
    among = np.arange(len(dataset.labels))[::2]

    parts = folds(dataset, among, count, seed)

    assert len(parts) == count
    assert sorted(np.concatenate(parts)) == among.tolist()
    fold_of = {index: number for number, part in enumerate(parts) for index in part}
    by_group = {(dataset.groups[index], fold) for index, fold in fold_of.items()}
    assert len(by_group) == len({group for group, _ in by_group})


@examples(25)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(2, 6), st.integers(0, 99))
def test_without_groups_folds_differ_by_one_picture_of_a_class(labels, count, seed):
    dataset = dataset_of(labels)

    parts = folds(dataset, np.arange(len(labels)), count, seed)

    held = np.stack([np.bincount(dataset.labels[part], minlength=5) for part in parts])
    assert np.ptp(held, axis=0).max() <= 1
    assert np.ptp(held.sum(1)) <= 1


@examples(25)
@given(st.integers(0, 99))
def test_large_groups_leave_folds_nearly_even(seed):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(40), rng.integers(1, 6, 40))
    dataset = dataset_of(groups % 2, groups)

    parts = folds(dataset, np.arange(len(groups)), 4, seed)

    held = np.stack([np.bincount(dataset.labels[part], minlength=2) for part in parts])
    assert np.ptp(held, axis=0).max() <= 5  # the largest group


def test_folds_are_the_seeds():
    dataset = dataset_of(np.arange(40) % 3)
    once, again, other = (folds(dataset, np.arange(40), 4, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(*pair) for pair in zip(once, again, strict=True))
    assert not all(np.array_equal(*pair) for pair in zip(once, other, strict=True))


def test_one_fold_is_none():
    with pytest.raises(ValueError, match="At least 2"):
        folds(dataset_of([0, 1]), np.arange(2), 1, 0)


@examples(25)
@given(st.lists(st.sampled_from("abcd"), max_size=20))
def test_equal_keys_are_one_group(keys):
    groups = groups_of_equal(keys)
    assert all((groups[i] == groups[j]) == (keys[i] == keys[j]) for i in range(len(keys)) for j in range(i))
    assert set(groups) == set(range(len(set(keys))))


def test_groups_must_fit_the_pictures():
    with pytest.raises(ValueError, match="2 groups were given for 3"):
        grouped(dataset_of([0, 1, 0]), np.array([0, 1]))


def test_groups_must_not_part_equal_files():
    dataset = dataset_of([0, 1, 0])
    dataset.sha256[2] = dataset.sha256[0]
    with pytest.raises(ValueError, match="equal bytes"):
        grouped(dataset, np.array([0, 1, 2]))
    assert grouped(dataset, np.array([5, 5, 5])).groups.tolist() == [5, 5, 5]
