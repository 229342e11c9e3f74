"""Several processes come to what one comes to, also when they are cut off; and half precision loses nothing of it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ml.checkpoint import load_checkpoint
from ml.network import EmbeddingNetwork
from ml.training.arcface import ArcFace
from ml.training.batches import Batch
from ml.training.learner import Learner
from ml.training.processes import processes_for
from ml.training.train import Watcher, train
from tests.unit.ml.conftest import plant
from tests.unit.ml.training.test_train import CPU, TINY, Interrupted
from umbel.base.errors import InvalidInput
from umbel.base.settings import Settings

PAIR = replace(TINY, architecture="convnext_atto", size=32, stages=((32, 2),), batch_size=6)


@pytest.fixture
def start(tmp_path) -> Path:
    torch.manual_seed(0)
    save_file(EmbeddingNetwork(PAIR.architecture).backbone.state_dict(), tmp_path / "backbone.safetensors")
    return tmp_path / "backbone.safetensors"


def run(place: Path, start: Path, *, processes: int, watcher: Watcher | None = None):
    folder, unseen = place / "shapes", place / "unseen"
    if not folder.is_dir():
        plant(folder)
        plant(unseen, classes=5, pictures=3)  # those of three classes are learnt from, the others only judged on
        for kind in range(3):
            shutil.rmtree(unseen / f"kind{kind}")
    options = {"processes": processes, "workers": 0, "settings": Settings(device="cpu"), "watcher": watcher}
    options |= {"hold_out": [unseen], "refitted": True}
    return train([folder], place / "out", start, PAIR, **options)


@pytest.mark.slow
def test_two_processes_come_to_what_one_comes_to_also_when_they_are_cut_off(tmp_path, start, monkeypatch):
    monkeypatch.setattr("ml.training.members.SAVE_EVERY", 0.0)
    steps: list[float] = []

    def cut_off(loss: float) -> None:
        steps.append(loss)
        if len(steps) == 3:
            raise Interrupted

    one = run(tmp_path / "one", start, processes=1)
    with pytest.raises(Interrupted):
        run(tmp_path / "two", start, processes=2, watcher=Watcher(step=cut_off))
    begun: list[int] = []
    two = run(tmp_path / "two", start, processes=2, watcher=Watcher(begin=lambda *told: begun.append(told[2])))

    assert begun[0] in (2, 3)
    assert [epoch.loss for epoch in two.epochs] == pytest.approx([epoch.loss for epoch in one.epochs], rel=0.02)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        vectors = [load_checkpoint(result.files.checkpoint)[0](images) for result in (one, two)]
    assert (vectors[0] * vectors[1]).sum(1).min() > 0.999
    names = [sorted(path.name for path in result.files.out.iterdir()) for result in (one, two)]
    assert names[0] == names[1]  # the helpers wrote nothing


def test_processes_must_share_a_batch_evenly(monkeypatch):
    assert processes_for(CPU, None, 64) == 1
    assert processes_for(CPU, 2, 64) == 2
    with pytest.raises(InvalidInput, match="3 processes cannot share batches of 64"):
        processes_for(CPU, 3, 64)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 6)
    assert processes_for(torch.device("cuda"), None, 64) == 4
    assert processes_for(torch.device("cuda", 1), None, 64) == 1
    with pytest.raises(InvalidInput, match="8 processes need as many GPUs; there are 6"):
        processes_for(torch.device("cuda"), 8, 64)


@pytest.fixture
def halved(monkeypatch) -> None:
    """A device that has fp16 and no bf16, on the CPU."""
    for module in ("ml.training.learner", "ml.evaluation.validation"):
        monkeypatch.setattr(f"{module}.training_dtype", lambda device: torch.float16)


def learner() -> Learner:
    torch.manual_seed(0)
    network = EmbeddingNetwork("convnext_atto", 8)
    vectors = torch.nn.functional.normalize(torch.randn(4, 8))
    recipe = replace(TINY, architecture="convnext_atto", dim=8)
    return Learner(network, recipe, labels=torch.tensor([0, 0, 1, 1]), start=vectors, folders=None, steps=9)


@pytest.mark.usefixtures("halved")
def test_half_precision_scales_the_loss_and_its_scale_outlives_an_interruption():
    first, again = learner(), learner()
    batch = Batch(torch.randn(4, 3, 32, 32), torch.arange(4))
    before, losses = first.head.weight.clone(), list[float]()

    while torch.equal(first.head.weight, before) and len(losses) < 20:  # the first scales are too large
        losses.append(first.step(batch).total)
    first.scaler.update(512.0)
    again.restore(first.tensors())

    assert first.scaler.is_enabled()
    assert np.isfinite(losses).all()
    assert not torch.equal(first.head.weight, before)
    assert again.scaler.get_scale() == 512.0


@pytest.mark.usefixtures("halved")
def test_a_step_whose_gradients_overflow_is_left_out():
    one = learner()
    batch = Batch(torch.randn(4, 3, 32, 32), torch.arange(4))
    one.step(batch)
    before, scale = one.head.weight.clone(), one.scaler.get_scale()
    one.head.weight.register_hook(lambda gradient: gradient * float("inf"))

    one.step(batch)

    assert torch.equal(one.head.weight, before)
    assert one.scaler.get_scale() < scale
    assert isinstance(one.head, ArcFace)
