"""Backbones as they were pretrained, from the hub's cache and from files."""

import json
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
import timm
import torch
from click.testing import CliRunner
from huggingface_hub import constants
from safetensors.torch import save_file

from cli import models as cli
from cli import registration
from ml.checkpoint import load_checkpoint
from ml.untuned import save_untuned
from umbel.base.errors import BadCheckpoint, InvalidInput, ModelNotFound

NAME = "convnext_atto"
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """A machine without network, whose cache of the hub holds nothing yet."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def whole() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(NAME, num_classes=1000).eval()


def fill(hub: Path) -> None:
    """Leave weights in the cache as the hub's client does."""
    folder = hub / f"models--timm--{NAME}.d2_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(whole().state_dict(), folder / "snapshots" / ("0" * 40) / "model.safetensors", {"format": "pt"})


def features(images: torch.Tensor) -> torch.Tensor:
    model = whole()
    return torch.nn.functional.normalize(model.forward_head(model.forward_features(images), pre_logits=True))


def check(path: Path) -> None:
    network, card = load_checkpoint(path)
    with torch.no_grad():
        assert (network(IMAGES) * features(IMAGES)).sum(1).min() > 0.9999
    assert (card.architecture, card.neck, card.dim) == (NAME, "none", 320)
    assert card.preprocessing.size == 224
    assert "not fine-tuned" in card.provenance.note
    assert "apache-2.0" in card.provenance.note


def test_weights_in_the_cache_of_the_hub_make_a_checkpoint_without_network(hub, tmp_path):
    fill(hub)

    save_untuned(tmp_path / "plain.safetensors", NAME)

    check(tmp_path / "plain.safetensors")


def test_without_network_and_cache_the_error_says_what_to_bring(hub, tmp_path):
    with pytest.raises(ModelNotFound, match=f"could not be fetched .* umbel models add FILE --backbone {NAME}"):
        save_untuned(tmp_path / "plain.safetensors", NAME)
    assert not (tmp_path / "plain.safetensors").exists()


def test_weights_of_another_backbone_are_refused(tmp_path):
    save_file({"stem.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")

    for name in ("other", "text"):
        with pytest.raises(BadCheckpoint, match=f"does not hold the weights of a {NAME}"):
            save_untuned(tmp_path / "plain.safetensors", NAME, weights=tmp_path / f"{name}.safetensors")
    with pytest.raises(InvalidInput, match="has no backbone"):
        save_untuned(tmp_path / "plain.safetensors", "convnext_nowhere", weights=tmp_path / "other.safetensors")


@pytest.fixture
def registered(monkeypatch) -> list[tuple[Path, Path, Path | None]]:
    """What a service was given to register."""
    given: list[tuple[Path, Path, Path | None]] = []

    def register(weights: Path, card: Path, split: Path | None) -> SimpleNamespace:
        given.append((weights, card, split))
        about = {"id": str(uuid4()), "name": json.loads(card.read_text())["name"], "state": "registered"}
        return SimpleNamespace(**about, as_dict=lambda: about)

    @contextmanager
    def client():
        yield SimpleNamespace(models=SimpleNamespace(register=register))

    monkeypatch.setattr(registration, "api_client", client)
    return given


def test_the_command_makes_a_checkpoint_of_a_file_and_registers_it(tmp_path, registered):
    save_file(whole().state_dict(), tmp_path / "weights.safetensors")
    arguments = ["add", str(tmp_path / "weights.safetensors"), "--backbone", NAME, "--out", str(tmp_path / "models")]

    done = CliRunner().invoke(cli.models, arguments, catch_exceptions=False)

    assert done.exit_code == 0
    assert "umbel reindex" in done.output
    [(weights, card, split)] = registered
    assert (weights.name, card.name, split) == (f"{NAME}-untuned.safetensors", f"{NAME}-untuned.json", None)
    check(weights)


def test_the_command_takes_timm_names_and_prints_json(tmp_path, registered, hub):
    fill(hub)

    done = CliRunner().invoke(
        cli.models, ["add", f"timm:{NAME}", "--out", str(tmp_path / "models"), "--json"], catch_exceptions=False
    )

    assert json.loads(done.stdout)["name"] == f"{NAME}-untuned"
    check(registered[0][0])


@pytest.mark.parametrize("source", ["convnext_atto", "nowhere.safetensors"])
def test_what_is_no_file_and_no_timm_name_is_wrong_usage(source, registered):
    done = CliRunner().invoke(cli.models, ["add", source])

    assert done.exit_code == 2
    assert "write timm:NAME" in done.output
    assert registered == []
