"""What an unfinished run leaves behind, and whether one may go on from it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.evaluation.metrics import measure
from ml.training.progress import Epoch, Progress, StateFile, fingerprint
from ml.training.recipe import Recipe
from umbel.base.errors import BadCheckpoint, Conflict

METRICS = measure(np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2]], np.array([0, 0, 1, 1, 1]))


def test_a_state_comes_back_as_it_was(tmp_path):
    progress = Progress(1, [Epoch(1, 1, 64, 2.0, 1.5, 0.1, {"some": METRICS}, 0.85)], [(2.0, 1.5, 0.1)])
    file = StateFile(tmp_path / "run" / "a.unfinished", "run")

    file.save(progress, {"w": torch.arange(3), "n": torch.tensor(7)})
    found, tensors = file.load()

    assert found == progress
    assert tensors["w"].tolist() == [0, 1, 2]
    assert int(tensors["n"]) == 7
    assert [path.name for path in file.path.parent.iterdir()] == ["a.unfinished"]


def test_a_score_of_a_run_without_validation_comes_back(tmp_path):
    file = StateFile(tmp_path / "a", "run")
    file.save(Progress(0, [Epoch(0, 1, 64, 2.0, 1.5, 0.1, {}, math.nan)], [(2.0, 1.5, 0.1)]), {"w": torch.ones(1)})

    found, _ = file.load()

    assert math.isnan(found.epochs[0].score)


def test_there_is_nothing_to_go_on_from_at_first(tmp_path):
    assert StateFile(tmp_path / "a", "run").load() is None


def test_the_state_of_another_run_is_refused(tmp_path):
    StateFile(tmp_path / "a", "one").save(Progress(), {"w": torch.ones(1)})

    with pytest.raises(Conflict, match="--fresh"):
        StateFile(tmp_path / "a", "another").load()


def test_a_broken_state_is_said_to_be_broken(tmp_path):
    (tmp_path / "a").write_bytes(b"\x08\0\0\0\0\0\0\0{")

    with pytest.raises(BadCheckpoint, match="--fresh"):
        StateFile(tmp_path / "a", "run").load()


@pytest.mark.parametrize(
    "other",
    [
        (replace(Recipe(), seed=2), ["a", "b"], "start"),
        (Recipe(), ["b", "a"], "start"),
        (Recipe(), ["a"], "start"),
        (Recipe(), ["a", "b"], "elsewhere"),
    ],
)
def test_another_recipe_other_pictures_another_start_make_another_run(other):
    assert fingerprint(Recipe(), ["a", "b"], "start") == fingerprint(Recipe(), ["a", "b"], "start")
    assert fingerprint(Recipe(), ["a", "b"], "start") != fingerprint(*other)


def test_the_best_epoch_is_the_first_of_the_highest_score_and_the_last_without_scores():
    def epochs(member, *scores):
        return [Epoch(member, number, 64, 1.0, 1.0, 0.0, {}, score) for number, score in enumerate(scores, 1)]

    progress = Progress(1, [*epochs(0, 0.5, 0.9, 0.9), *epochs(1, math.nan, math.nan)])

    assert progress.best(0).number == 2
    assert progress.best(1).number == 2
