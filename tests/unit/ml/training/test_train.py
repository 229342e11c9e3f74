"""A tiny real training run, from a folder to an embedder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch.nn import functional as F

from cli.train import train as command
from core.errors import BadCheckpoint, ModelNotFound
from core.settings import Settings
from ml.checkpoint import load_checkpoint
from ml.network import EmbeddingNetwork
from ml.runtime import TorchEmbedder
from ml.training.course import Epoch, Watcher, load_start
from ml.training.learner import blended, cosine_drift, parameter_groups
from ml.training.recipe import Recipe
from ml.training.train import train

TINY = replace(
    Recipe(),
    name="tiny",
    dim=16,
    size=64,
    stages=((64, 4),),
    batch_size=8,
    blends=(1.0,),
    settlings=((0, 0), (0.75, 1)),
    validation=0.25,
    backbone_rate=1e-3,
)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """An untrained backbone, as timm would save it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("start") / "backbone.safetensors"
    save_file(EmbeddingNetwork(TINY.architecture).backbone.state_dict(), path)
    return path


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
    assert result.best.score == max(epoch.score for epoch in seen)
    embedder = TorchEmbedder(*load_checkpoint(result.checkpoint), Settings())
    assert embedder.embed([embedder.decode((folder / "kind0" / "0.jpg").read_bytes())]).shape == (1, 16)
    assert result.card.metrics["validation"]["shapes, held-out pictures"]["pictures"] == 9


def test_the_same_seed_gives_the_same_weights(make_folder, tmp_path, start):
    folder, short = make_folder(), replace(TINY, size=48, stages=((48, 1),))

    hashes = [run(folder, tmp_path / name, start, short).card.weights_sha256 for name in ("a", "b")]

    assert hashes[0] == hashes[1]


def test_without_validation_pictures_the_last_epoch_is_kept(make_folder, tmp_path, start):
    result = run(make_folder(), tmp_path, start, replace(TINY, size=48, stages=((48, 2),), validation=0.0))

    assert result.best.number == 2
    assert result.metrics == {}


def test_training_goes_on_from_a_checkpoint(make_folder, tmp_path, start):
    short = replace(TINY, size=48, stages=((48, 1),))
    first = run(make_folder(), tmp_path / "first", start, short)

    second = run(tmp_path / "shapes", tmp_path / "second", first.checkpoint, short)

    assert second.card.provenance.start == "tiny.safetensors"
    assert second.card.weights_sha256 != first.card.weights_sha256


def test_start_weights_that_are_missing_or_foreign_are_refused(tmp_path):
    with pytest.raises(ModelNotFound):
        load_start(tmp_path / "none.safetensors", TINY)
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(BadCheckpoint, match="tf_efficientnetv2_b0"):
        load_start(tmp_path / "foreign.safetensors", TINY)


def test_drift_is_nothing_at_the_start_and_counts_each_pair():
    start = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    moved = F.normalize(start + 0.3)
    pairs = [((moved[a] @ moved[b]) - (start[a] @ start[b])) ** 2 for a in range(6) for b in range(6) if a != b]

    assert cosine_drift(start, start).item() == pytest.approx(0, abs=1e-12)
    assert cosine_drift(moved, start).item() == pytest.approx(torch.stack(pairs).mean().item(), rel=1e-5)


def test_earlier_stages_learn_slower_and_frozen_ones_not_at_all(network):
    from ml.training.arcface import ArcFace  # noqa: PLC0415

    groups = parameter_groups(network, ArcFace(3, 32), replace(TINY, frozen_stages=2, layer_decay=0.5))

    rates = [group["lr"] for group in groups]
    assert rates == sorted(rates)
    assert not network.backbone.conv_stem.weight.requires_grad
    listed = sum(len(group["params"]) for group in groups)
    assert listed == 1 + sum(parameter.requires_grad for parameter in network.parameters())
    network.requires_grad_(True)


def test_a_blend_lies_between():
    start, trained = {"w": torch.zeros(2), "n": torch.tensor(1)}, {"w": torch.ones(2), "n": torch.tensor(5)}

    assert blended(start, trained, 0.25)["w"].tolist() == [0.25, 0.25]
    assert blended(start, trained, 1.0)["w"].tolist() == [1, 1]


def test_the_command_trains_and_reports_in_json(make_folder, tmp_path, start):
    folder = make_folder()
    arguments = [str(folder), "--out", str(tmp_path / "out"), "--start", str(start), "--epochs", "1", "--size", "48"]

    done = CliRunner().invoke(command, [*arguments, "--batch-size", "8", "--json"], catch_exceptions=False)

    report = json.loads(done.stdout)
    assert done.exit_code == 0
    assert Path(report["checkpoint"]).is_file()
    assert report["card"]["provenance"]["recipe"]["seed"] == 1
