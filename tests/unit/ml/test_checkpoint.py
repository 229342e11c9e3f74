"""Checkpoints come back as they were written, and do not come back when anything was changed."""

import json
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from ml import shipped, untuned
from ml.anchors import Anchors
from ml.card import Provenance, card_path, read_card
from ml.checkpoint import load_checkpoint, save_checkpoint
from ml.network import EmbeddingNetwork
from ml.preprocess import Preprocessing
from ml.shipped import find_checkpoint
from umbel.base.errors import BadCheckpoint, ModelNotFound
from umbel.base.settings import Settings

PROVENANCE = Provenance(data=["none"], start="random", created_at="2026-01-01T00:00:00Z")


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "shapes.safetensors"
    save_checkpoint(
        path, network, name="shapes", preprocessing=Preprocessing(size=64), provenance=PROVENANCE, metrics={"r": 0.5}
    )
    return path


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    for file in (saved, card_path(saved)):
        shutil.copy(file, tmp_path)
    return tmp_path / saved.name


def change_card(path: Path, **changes: object) -> None:
    card = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps(card | changes))


def test_a_checkpoint_comes_back_as_it_was_written(saved, network, pictures):
    loaded, card = load_checkpoint(saved)

    with torch.no_grad():
        cosine = (loaded(pictures) * network(pictures)).sum(1)
    assert cosine.min() > 0.9999  # half precision in the file
    assert not loaded.training
    assert (card.name, card.dim, card.metrics) == ("shapes", 32, {"r": 0.5})
    assert card.preprocessing == Preprocessing(size=64)


def test_anchors_of_earlier_models_come_back_with_the_rest(network, pictures, tmp_path):
    anchored = deepcopy(network)
    with torch.no_grad():
        plain = network(pictures)
        anchored.anchors = Anchors(4, network.dim)
        anchored.anchors.centres.copy_(plain)
        anchored.anchors.pull[:2] = 2.0
        before = anchored(pictures)
    path = tmp_path / "anchored.safetensors"

    save_checkpoint(path, anchored, name="anchored", preprocessing=Preprocessing(size=64), provenance=PROVENANCE)
    loaded, card = load_checkpoint(path)

    assert card.anchors == 4
    with torch.no_grad():
        assert (loaded(pictures) * before).sum(1).min() > 0.9999
    assert (plain * before).sum(1).min() < 0.9999


def test_weights_that_were_changed_are_refused(copy):
    data = bytearray(copy.read_bytes())
    data[-5] ^= 1
    copy.write_bytes(data)

    with pytest.raises(BadCheckpoint, match="SHA-256"):
        load_checkpoint(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"preprocessing": {"size": 96}},
        {"preprocessing_hash": "0" * 64},
        {"dim": 64},
        {"architecture": "resnet50"},
        {"architecture": "tf_efficientnetv2_s"},
        {"neck": "none"},
        {"weights_sha256": "0" * 64},
        {"surprise": 1},
    ],
)
def test_a_card_that_was_changed_is_refused(copy, changes):
    change_card(copy, **changes)

    with pytest.raises(BadCheckpoint):
        load_checkpoint(copy)


def test_a_checkpoint_without_a_card_is_refused(copy):
    card_path(copy).unlink()

    with pytest.raises(BadCheckpoint, match="missing"):
        load_checkpoint(copy)


def test_what_is_no_safetensors_file_is_refused(copy):
    copy.write_bytes(b"not weights")

    with pytest.raises(BadCheckpoint):
        load_checkpoint(copy)


def test_a_missing_checkpoint_is_not_found(tmp_path):
    with pytest.raises(ModelNotFound):
        read_card(tmp_path / "no.safetensors")


def test_the_path_in_the_settings_comes_first(saved):
    assert find_checkpoint(Settings(checkpoint=saved)) == saved


def test_a_path_in_the_settings_that_is_wrong_is_never_passed_over(tmp_path):
    with pytest.raises(ModelNotFound, match="UMBEL_CHECKPOINT"):
        find_checkpoint(Settings(checkpoint=tmp_path / "no.safetensors"))


def test_the_shipped_checkpoint_comes_second():
    assert find_checkpoint(Settings(checkpoint=None)) == shipped.SHIPPED


def test_without_hub_the_error_says_what_to_do(monkeypatch, tmp_path):
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to the hub")

    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "none.safetensors")
    monkeypatch.setattr(untuned, "EmbeddingNetwork", unreachable)

    with pytest.raises(ModelNotFound, match=r"Set UMBEL_CHECKPOINT .*`umbel train"):
        find_checkpoint(Settings(home=tmp_path))


def test_the_hub_comes_last_and_is_asked_once(monkeypatch, tmp_path):
    asked = []

    def pretrained(architecture: str, **options: object) -> EmbeddingNetwork:
        asked.append(options)
        return EmbeddingNetwork(architecture, neck="none")

    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "none.safetensors")
    monkeypatch.setattr(untuned, "EmbeddingNetwork", pretrained)

    first, second = (find_checkpoint(Settings(home=tmp_path)) for _ in range(2))

    assert first == second
    assert asked == [{"neck": "none", "pretrained": True, "size": 192}]
    assert read_card(first).dim == 1280


@pytest.mark.parametrize("name", ["umbel-b9", "../weights/umbel-b0", "umbel-b0.safetensors"])
def test_no_other_name_is_a_shipped_checkpoint(name):
    assert shipped.shipped_checkpoint(name) is None


@pytest.mark.parametrize(("name", "domain"), [("umbel-b0", "general"), ("umbel-b0-flowers", "flowers")])
def test_each_shipped_checkpoint_is_small_and_its_card_tells_what_it_is(name, domain):
    path = shipped.shipped_checkpoint(name)
    card = read_card(path)

    assert sum(file.stat().st_size for file in (path, card_path(path))) < 15_000_000
    assert (card.name, card.domain, card.architecture, card.dim) == (name, domain, "tf_efficientnetv2_b0", 512)
    assert card.provenance.data
    assert card.metrics
    assert card.calibration is not None


def test_folding_the_batch_norm_changes_nothing(network, pictures):
    other = EmbeddingNetwork(network.architecture, dim=32).eval()
    other.load_state_dict(network.state_dict())
    for statistics in (other.neck.norm.running_mean, other.neck.norm.bias.data):
        statistics.copy_(torch.randn(32))
    other.neck.norm.running_var.copy_(torch.rand(32) + 0.1)
    with torch.no_grad():
        before = other(pictures)
        other.fold_batch_norm()
        other.fold_batch_norm()
        torch.testing.assert_close(other(pictures), before, rtol=1e-4, atol=1e-5)
