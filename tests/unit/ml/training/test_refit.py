"""Once more on all images, when validation has chosen: what is saved, what is told, and that a kill changes nothing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from cli.train.command import train as command
from ml.card import Provenance
from ml.checkpoint import save_checkpoint
from ml.network import EmbeddingNetwork
from ml.preprocess import Preprocessing
from ml.training.fit import shortened
from ml.training.train import Result, Watcher, train
from tests.unit.ml.conftest import plant
from tests.unit.ml.training.test_train import TINY, Interrupted
from umbel.base.settings import Settings

QUICK = replace(
    TINY,
    architecture="convnext_atto",
    size=48,
    stages=((32, 1), (48, 1)),
    members=2,
    batch_size=6,
    blend=0.5,
    held_out_classes=1,
    validation=0.3,
)


def run(place: Path, out: Path, recipe=QUICK, watcher: Watcher | None = None, *, refitted: bool = True) -> Result:
    options = {"settings": Settings(device="cpu"), "watcher": watcher, "hold_out": [place / "unseen"]}
    return train([place / "shapes"], out, place / "start.safetensors", recipe, refitted=refitted, **options)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Pictures to learn from, others only to be judged on, and a model whose neck was trained before."""
    place = tmp_path_factory.mktemp("refit")
    plant(place / "shapes", classes=4, pictures=7)
    plant(place / "unseen", classes=2, pictures=3)
    for number, path in enumerate(sorted((place / "unseen").rglob("*.jpg"))):
        path.write_bytes((place / "shapes" / "kind3" / "0.jpg").read_bytes() if number == 0 else path.read_bytes())
    torch.manual_seed(0)
    about = Provenance(data=[], start="random", created_at="2026-01-01T00:00:00Z")
    network = EmbeddingNetwork(QUICK.architecture, QUICK.dim)
    path, preprocessing = place / "start.safetensors", Preprocessing(size=48)
    save_checkpoint(path, network, name="start", preprocessing=preprocessing, provenance=about)
    return place


@pytest.fixture(scope="module")
def whole(place) -> Result:
    """A refit that nothing cut off."""
    return run(place, place / "whole")


def roles(result: Result) -> list[tuple[str, str, str]]:
    pictures = json.loads(result.files.split.read_text())["pictures"]
    return [(one["folder"], one["path"], one["role"]) for one in pictures]


@pytest.mark.slow
def test_what_is_saved_is_a_run_on_all_images_for_the_time_that_was_chosen(place, whole):
    chosen = whole.card.provenance.recipe
    refitted = chosen["refitted"]
    everything = replace(
        shortened(QUICK, refitted["epochs"]),
        validation=0.0,
        held_out_classes=0,
    )

    alone = run(place, place / "alone", everything, refitted=False)

    assert whole.card.weights_sha256 == alone.card.weights_sha256
    assert whole.card.provenance.data == alone.card.provenance.data
    assert whole.card.metrics["refitted"] == alone.card.metrics["held_out"]
    assert refitted["epochs"] == round(sum(chosen["best_epochs"]) / 2)


@pytest.mark.slow
def test_figures_stay_those_of_the_network_that_was_judged(place, whole):
    validated = run(place, place / "validated", refitted=False)

    assert whole.card.weights_sha256 != validated.card.weights_sha256
    assert whole.card.calibration == validated.card.calibration
    for name in ("validation", "held_out", "start_features"):
        assert whole.card.metrics[name] == validated.card.metrics[name]
    assert whole.epochs == validated.epochs
    assert "refitted" not in validated.card.provenance.recipe
    assert whole.card.provenance.note.startswith("refitted: ")
    before, after = roles(validated), roles(whole)
    assert {role for _, _, role in before} == {"train", "validation", "held-out"}
    learnt = [one for one in after if one[2] == "train"]
    assert len(learnt) == whole.card.provenance.recipe["refitted"]["pictures"]
    assert {(folder, path) for folder, path, role in after if role != "train"} >= {
        (folder, path) for folder, path, _ in before if folder == "unseen"
    }
    assert {folder for folder, _, _ in learnt} == {"shapes"}
    assert ("shapes", "kind3/0.jpg", "held-out") in after  # it is among the unseen ones
    assert not any(path.suffix == ".unfinished" for path in whole.files.out.iterdir())


@pytest.mark.slow
def test_a_refit_that_was_cut_off_goes_on_to_the_same_end(place, whole, monkeypatch, tmp_path):
    monkeypatch.setattr("ml.training.members.SAVE_EVERY", 0.0)
    after = 3  # of four a member, or of eight
    told: list[tuple[int, int, int]] = []
    steps: list[float] = []

    def cut_off(loss: float) -> None:
        if told:
            steps.append(loss)
        if len(steps) == after:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(place, tmp_path, watcher=Watcher(step=cut_off, refit=lambda *now: told.append(now)))
    assert (tmp_path / "tiny.unfinished").exists()
    assert not (tmp_path / "tiny.safetensors").exists()
    again: list[float] = []

    rest = run(place, tmp_path, watcher=Watcher(step=again.append, refit=lambda *now: told.append(now)))

    assert told[0][1] == 0
    assert 1 <= told[1][1] <= after  # saving takes its time, so not every step is saved
    assert len(again) == told[1][2] - told[1][1]
    assert rest.card.weights_sha256 == whole.card.weights_sha256
    assert rest.card.metrics == whole.card.metrics
    assert roles(rest) == roles(whole)
    assert not any(path.suffix == ".unfinished" for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("epochs", "stages"), [(1, ((32, 1),)), (3, ((32, 2), (48, 1))), (6, ((32, 2), (48, 3), (64, 1)))]
)
def test_a_shorter_run_has_the_first_stages(epochs, stages):
    recipe = replace(QUICK, stages=((32, 2), (48, 3), (64, 1)))

    assert shortened(recipe, epochs).stages == stages
    assert shortened(recipe, epochs).epochs == epochs


@pytest.mark.slow
def test_the_command_says_that_it_was_refitted(place, tmp_path):
    arguments = [place / "shapes", "--out", tmp_path / "out", "--start", place / "start.safetensors", "--refit"]
    knobs = ["--epochs", "1", "--size", "48", "--dim", "16", "--batch-size", "6", "--members", "1"]
    knobs += ["--backbone", "convnext_atto"]

    done = CliRunner().invoke(command, [*map(str, arguments), *knobs], catch_exceptions=False)

    assert done.exit_code == 0
    shown = " ".join(done.output.split())
    assert "Refitted: when validation had chosen, trained once more from the start on all 28 pictures" in shown


def test_a_refitted_model_is_not_activated_if_it_is_better_where_nothing_is_left_to_judge_on(place, tmp_path):
    arguments = [str(place / "shapes"), "--out", str(tmp_path), "--refit", "--activate-if-better"]

    done = CliRunner().invoke(command, arguments)

    assert done.exit_code == 2
    assert "--refit leaves none" in " ".join(done.output.replace("│", " ").split())
