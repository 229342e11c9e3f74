"""A tiny real training run, from a folder to an embedder."""

import hashlib
import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional as F

from cli.train.command import train as command
from ml.checkpoint import load_checkpoint
from ml.runtimes.torch_forward import torch_embedder
from ml.training.finish import blended
from ml.training.learner import cosine_drift, parameter_groups
from ml.training.progress import Epoch
from ml.training.recipe import Recipe
from ml.training.start import find_start, load_start
from ml.training.train import Result, Watcher, train
from tests.unit.ml.conftest import plant
from umbel.base.errors import BadCheckpoint, Conflict, ModelNotFound
from umbel.base.logging import configure_logging
from umbel.base.settings import Settings

CPU = torch.device("cpu")
TINY = replace(
    Recipe(),
    name="tiny",
    dim=16,
    size=64,
    stages=((64, 4),),
    batch_size=8,
    members=1,
    distortions=0,
    blend=1.0,
    validation=0.25,
    backbone_lr=1e-3,
)


def run(folder: Path, out: Path, start: Path, recipe: Recipe = TINY, watcher: Watcher | None = None):
    return train([folder], out, start, recipe, settings=Settings(device="cpu"), watcher=watcher)


def test_a_run_learns_and_leaves_a_checkpoint_that_embeds(make_folder, tmp_path, start):
    seen: list[Epoch] = []
    steps: list[float] = []
    folder = make_folder(classes=3, pictures=12)

    result = run(folder, tmp_path / "out", start, watcher=Watcher(step=steps.append, epoch=seen.append))

    assert [epoch.number for epoch in seen] == [1, 2, 3, 4]
    assert len(steps) == 12
    assert seen[-1].arcface < 0.8 * seen[0].arcface
    assert result.card.provenance.recipe["best_epochs"] == [1 + int(np.argmax([epoch.score for epoch in seen]))]
    embedder = torch_embedder(*load_checkpoint(result.files.checkpoint), Settings())
    assert embedder.embed([embedder.decode((folder / "kind0" / "0.jpg").read_bytes())]).shape == (1, 16)
    assert result.card.metrics["validation"]["shapes, held-out pictures"]["pictures"] == 9
    assert result.card.provenance.start_sha256 == hashlib.sha256(start.read_bytes()).hexdigest()


def test_the_same_seed_gives_the_same_weights(make_folder, tmp_path, start):
    folder, short = make_folder(), replace(TINY, size=48, stages=((48, 1),))

    hashes = [run(folder, tmp_path / name, start, short).card.weights_sha256 for name in ("a", "b")]

    assert hashes[0] == hashes[1]


class Interrupted(Exception):
    """Stands for the end of the process: what was not on disk by then is lost."""


TWICE = replace(TINY, size=48, stages=((48, 2),), members=2, batch_size=6)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, start) -> Result:
    """A run that nothing cut off."""
    place = tmp_path_factory.mktemp("whole")
    return run(plant(place / "shapes"), place / "out", start, TWICE)


@pytest.fixture
def save_each_step(monkeypatch) -> None:
    monkeypatch.setattr("ml.training.members.SAVE_EVERY", 0.0)


@pytest.mark.slow
@pytest.mark.usefixtures("save_each_step")
@pytest.mark.parametrize("after", [1, 4, 6])
def test_a_run_that_was_cut_off_goes_on_to_the_same_end(make_folder, tmp_path, start, whole, after):
    folder = make_folder()
    steps: list[float] = []

    def cut_off(loss: float) -> None:
        steps.append(loss)
        if len(steps) == after:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(folder, tmp_path / "parts", start, TWICE, Watcher(step=cut_off))
    begun: list[int] = []
    rest = run(folder, tmp_path / "parts", start, TWICE, Watcher(begin=lambda *told: begun.append(told[2])))

    assert begun[0] in (after - 1, after)
    assert rest.card.weights_sha256 == whole.card.weights_sha256
    assert rest.epochs == whole.epochs
    assert not rest.files.state.exists()


@pytest.mark.usefixtures("save_each_step")
def test_a_run_goes_on_without_the_hub_and_tells_its_start_by_hash(make_folder, tmp_path, monkeypatch):
    folder, recipe = make_folder(), replace(TINY, size=32, stages=((32, 1),), batch_size=4)
    create, hub = timm.create_model, {"up": True}

    def with_hub(name: str, *, pretrained: bool = False, **options: object):
        if pretrained and not hub["up"]:
            raise OSError("no route to the hub")
        torch.manual_seed(7)
        return create(name, **options)

    def cut_off(loss: float) -> None:
        hub["up"] = False
        if next(steps) == 1:
            raise Interrupted

    monkeypatch.setattr(timm, "create_model", with_hub)
    steps = itertools.count()
    with pytest.raises(Interrupted):
        train([folder], tmp_path / "out", None, recipe, settings=Settings(device="cpu"), watcher=Watcher(step=cut_off))
    begun: list[int] = []
    watcher = Watcher(begin=lambda *told: begun.append(told[2]))

    result = train([folder], tmp_path / "out", None, recipe, settings=Settings(device="cpu"), watcher=watcher)

    about = result.card.provenance
    torch.manual_seed(7)
    weights = create(recipe.architecture, num_classes=0).state_dict()
    assert begun == [1]
    assert about.start == "timm tf_efficientnetv2_b0, from the hub"
    assert about.start_sha256 == hashlib.sha256(save(weights)).hexdigest()


@pytest.mark.slow
def test_another_run_does_not_go_on_from_it_unless_told_to_begin_anew(make_folder, tmp_path, start):
    folder, recipe = make_folder(), replace(TINY, size=48, stages=((48, 2),))

    def cut_off(epoch: Epoch) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        run(folder, tmp_path / "out", start, recipe, Watcher(epoch=cut_off))
    with pytest.raises(Conflict, match="--fresh"):
        run(folder, tmp_path / "out", start, replace(recipe, seed=2))
    fresh = train(
        [folder], tmp_path / "out", start, replace(recipe, seed=2), fresh=True, settings=Settings(device="cpu")
    )

    assert fresh.files.checkpoint.exists()


@pytest.mark.slow
def test_a_run_that_gets_no_better_ends_early(make_folder, tmp_path, start):
    still = replace(TINY, size=48, stages=((48, 9),), backbone_lr=0.0, neck_lr=0.0, patience=2)

    result = run(make_folder(), tmp_path, start, still)

    assert len(result.epochs) < 9
    assert len(result.epochs) == result.card.provenance.recipe["best_epochs"][0] + 2


def test_while_the_neck_learns_first_the_backbone_stays(make_folder, tmp_path, start):
    recipe = replace(
        TINY,
        size=48,
        stages=((48, 1),),
        neck_first=1.0,
        validation=0.0,
    )

    result = run(make_folder(), tmp_path, start, recipe)

    network, _ = load_checkpoint(result.files.checkpoint)
    before = load_start(start, recipe, CPU).backbone.state_dict()
    for name, tensor in network.backbone.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(tensor, before[name], rtol=1e-2, atol=1e-4)


def test_a_run_leaves_its_split_its_curves_and_its_duplicates(make_folder, tmp_path, start):
    folder = make_folder(pictures=8)
    shutil.copy(folder / "kind0" / "0.jpg", folder / "kind0" / "again.jpg")

    files = run(folder, tmp_path / "out", start, replace(TINY, size=48, stages=((48, 1),))).files

    pictures = json.loads(files.split.read_text())["pictures"]
    assert len(pictures) == 25
    assert {picture["role"] for picture in pictures} == {"train", "validation"}
    assert len({picture["role"] for picture in pictures if picture["path"] in ("kind0/0.jpg", "kind0/again.jpg")}) == 1
    with Image.open(files.curves) as curves:
        assert curves.format == "PNG"
        assert curves.width > 1000
    assert "again.jpg" in files.duplicates.read_text()


@pytest.mark.slow
def test_tensorboard_events_are_written_when_asked_for(make_folder, tmp_path, start):
    folder, events = make_folder(), tmp_path / "events"
    arguments = [str(folder), "--out", str(tmp_path / "out"), "--start", str(start), "--epochs", "3", "--size", "48"]

    done = CliRunner().invoke(
        command, [*arguments, "--batch-size", "8", "--tensorboard", str(events)], catch_exceptions=False
    )

    assert done.exit_code == 0
    found = EventAccumulator(str(events)).Reload()
    assert "loss/step" in found.Tags()["scalars"]
    assert [event.step for event in found.Scalars("loss/step")] == [1, 2, 3]


@pytest.mark.slow
def test_without_validation_pictures_the_last_epoch_is_kept(make_folder, tmp_path, start):
    result = run(make_folder(), tmp_path, start, replace(TINY, size=48, stages=((48, 2),), validation=0.0))

    assert result.card.provenance.recipe["best_epochs"] == [2]
    assert result.metrics == {}


@pytest.mark.slow
def test_training_goes_on_from_a_checkpoint(make_folder, tmp_path, start):
    short = replace(TINY, size=48, stages=((48, 1),))
    first = run(make_folder(), tmp_path / "first", start, short)

    second = run(tmp_path / "shapes", tmp_path / "second", first.files.checkpoint, short)

    assert second.card.provenance.start == "tiny.safetensors"
    assert second.card.weights_sha256 != first.card.weights_sha256


def test_start_weights_that_are_missing_or_foreign_are_refused(tmp_path):
    with pytest.raises(ModelNotFound):
        find_start(tmp_path / "none.safetensors", TINY)
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(BadCheckpoint, match="tf_efficientnetv2_b0"):
        load_start(tmp_path / "foreign.safetensors", TINY, CPU)


def test_drift_is_nothing_at_the_start_and_counts_each_pair():
    start = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    moved = F.normalize(start + 0.3)
    pairs = [((moved[a] @ moved[b]) - (start[a] @ start[b])) ** 2 for a in range(6) for b in range(6) if a != b]

    assert cosine_drift(start, start).item() == pytest.approx(0, abs=1e-12)
    assert cosine_drift(moved, start).item() == pytest.approx(torch.stack(pairs).mean().item(), rel=1e-5)


def test_earlier_stages_learn_slower_and_frozen_ones_not_at_all(network):
    from ml.training.arcface import ArcFace  # noqa: PLC0415

    groups = parameter_groups(network, ArcFace(3, 32), replace(TINY, frozen_stages=2, layer_decay=0.5))

    rates = [group["base_lr"] for group in groups]
    assert rates == sorted(rates)
    assert not network.backbone.conv_stem.weight.requires_grad
    listed = sum(len(group["params"]) for group in groups)
    assert listed == 1 + sum(parameter.requires_grad for parameter in network.parameters())
    network.requires_grad_(True)


def test_a_blend_lies_between():
    start, trained = {"w": torch.zeros(2), "n": torch.tensor(1)}, {"w": torch.ones(2), "n": torch.tensor(5)}

    assert blended(start, trained, 0.25)["w"].tolist() == [0.25, 0.25]
    assert blended(start, trained, 1.0)["w"].tolist() == [1, 1]


@pytest.mark.slow
def test_the_command_takes_labels_and_roles_from_a_list(make_folder, tmp_path, start):
    make_folder()
    rows = [
        f"shapes/kind{kind}/{seed}.jpg,kind{kind},{'validation' if seed > 3 else ''}"
        for kind in range(3)
        for seed in range(6)
    ]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,role", *rows]))
    arguments = ["--labels", str(tmp_path / "list.csv"), "--out", str(tmp_path / "out"), "--start", str(start)]

    done = CliRunner().invoke(
        command, [*arguments, "--epochs", "1", "--size", "48", "--batch-size", "6", "--json"], catch_exceptions=False
    )

    assert done.exit_code == 0
    split = json.loads((tmp_path / "out" / "umbel.split.json").read_text())["pictures"]
    assert {one["path"][-5] for one in split if one["role"] == "validation"} == {"4", "5"}
    assert len(split) == 18


@pytest.mark.slow
def test_the_command_trains_and_reports_in_json(make_folder, tmp_path, start):
    configure_logging(Settings())  # as `umbel` does before any command: the log is not for stdout
    folder = make_folder()
    arguments = [str(folder), "--out", str(tmp_path / "out"), "--start", str(start), "--epochs", "1", "--size", "48"]

    knobs = ["--batch-size", "8", "--domain", " shapes ", "--json"]
    done = CliRunner().invoke(command, [*arguments, *knobs], catch_exceptions=False)

    report = json.loads(done.stdout)
    assert done.exit_code == 0
    assert Path(report["checkpoint"]).is_file()
    assert report["card"]["provenance"]["recipe"]["seed"] == 1
    assert report["card"]["domain"] == "shapes"


@pytest.mark.parametrize("text", [" ", "x" * 101])
def test_a_domain_that_a_card_would_not_take_is_refused_before_the_training(make_folder, tmp_path, text):
    done = CliRunner().invoke(command, [str(make_folder()), "--out", str(tmp_path / "out"), "--domain", text])

    assert done.exit_code == 2
    assert "1 to 100 characters" in done.output
