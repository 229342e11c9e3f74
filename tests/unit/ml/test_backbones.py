"""Any backbone of timm's: it is built, taught, kept and brought back as timm knows it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from ml import backbones
from ml.card import Provenance, read_card
from ml.checkpoint import load_checkpoint, save_checkpoint
from ml.evaluation.models import load_rival
from ml.network import EmbeddingNetwork
from ml.preprocess import Preprocessing
from ml.shipped import SHIPPED
from ml.training.arcface import ArcFace
from ml.training.batches import Batch
from ml.training.learner import Learner, parameter_groups
from ml.training.recipe import RECIPES, recipe_for, resized
from ml.training.start import load_start
from ml.training.train import train
from tests.unit.ml.conftest import plant
from umbel.base.errors import InvalidInput
from umbel.base.settings import Settings

CPU = torch.device("cpu")
VIT = "vit_tiny_patch16_224"
OTHERS = ("convnext_atto", VIT)


def weights_of(architecture: str, path: Path, *, classes: int = 0) -> Path:
    """Random weights, as timm's hub would have them."""
    torch.manual_seed(0)
    save_file(timm.create_model(architecture, num_classes=classes).state_dict(), path)
    return path


SMALL = ("b1", "convnext_atto")


@pytest.mark.parametrize(
    "backbone",
    [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in RECIPES if name not in ("b0", "b1"))],
)
def test_a_backbone_learns_is_saved_and_comes_back(backbone, tmp_path):
    torch.manual_seed(0)
    recipe = replace(recipe_for(backbone), dim=16, batch_size=4)
    network = EmbeddingNetwork(recipe.architecture, recipe.dim)
    vectors, labels = torch.nn.functional.normalize(torch.randn(4, 16)), torch.tensor([0, 0, 1, 1])
    learner = Learner(network, recipe, labels=labels, start=vectors, folders=None, steps=4)
    path, about = tmp_path / "other.safetensors", Provenance(data=[], start="random", created_at="2026-01-01T00:00:00Z")

    loss = learner.step(Batch(torch.randn(4, 3, 32, 32), torch.arange(4)))
    save_checkpoint(path, network, name="other", preprocessing=recipe.preprocessing, provenance=about)
    del learner

    loaded, card = load_checkpoint(path)
    stated = timm.get_pretrained_cfg(card.architecture)
    assert np.isfinite(loss.total)
    assert card.architecture == recipe.architecture
    assert (card.preprocessing.mean, card.preprocessing.std) == (stated.mean, stated.std)
    # Matrices are stored in half precision, and many layers of random weights make much of that.
    weights = network.state_dict().items()
    network.load_state_dict({name: one.half().float() if one.ndim > 1 else one for name, one in weights})
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert (loaded(images) * network.eval()(images)).sum(1).min() > 0.999


@pytest.mark.slow
def test_a_vit_is_trained_from_a_folder_to_a_checkpoint(tmp_path):
    recipe = replace(resized(recipe_for(VIT), 32, epochs=1), batch_size=6, dim=16, members=1, validation=0.0)
    weights = weights_of(VIT, tmp_path / "start.safetensors")

    result = train(
        [plant(tmp_path / "shapes", 2, 3)], tmp_path / "out", weights, recipe, settings=Settings(device="cpu")
    )

    network, card = load_checkpoint(result.files.checkpoint)
    assert all(np.isfinite(epoch.loss) for epoch in result.epochs)
    assert (card.architecture, card.preprocessing.size) == (VIT, 32)
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 16)


def test_b3_is_fed_as_it_was_pretrained():
    assert RECIPES["b3"].preprocessing.mean == (0.5, 0.5, 0.5)
    assert RECIPES["b0"].preprocessing.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("architecture", ["tf_efficientnetv2_b0", *OTHERS, "mobilenetv3_small_050"])
def test_features_are_those_that_timm_hands_its_classifier(architecture):
    torch.manual_seed(0)
    size = 224 if architecture == VIT else 64
    network = EmbeddingNetwork(architecture, neck="none").eval()
    images = torch.randn(2, 3, size, size)

    with torch.no_grad():
        wanted = torch.nn.functional.normalize(network.backbone(images))
        torch.testing.assert_close(network(images), wanted)
    assert network.dim == wanted.shape[1]


@pytest.mark.parametrize("architecture", ["tf_efficientnetv2_b0", *OTHERS])
def test_weights_with_a_classifier_are_a_start_too(architecture, tmp_path):
    weights = weights_of(architecture, tmp_path / "hub.safetensors", classes=10)

    started = load_start(weights, resized(recipe_for(architecture), 224, 1), CPU).backbone.state_dict()

    whole = timm.create_model(architecture, num_classes=10)
    whole.load_state_dict(load_file(weights))
    for name, tensor in started.items():
        torch.testing.assert_close(tensor, whole.state_dict()[name])


def test_every_stage_of_a_vit_learns_slower_than_the_next_and_its_positions_are_not_decayed():
    network, head = EmbeddingNetwork(VIT, 16, size=32), ArcFace(3, 16)

    groups = parameter_groups(network, head, replace(recipe_for(VIT), frozen_stages=0, layer_decay=0.5))

    rates = [group["base_lr"] for group in groups]
    assert rates == sorted(rates)
    assert len(set(rates)) == 14 + 2  # patches, twelve blocks, the last norm; the neck; the centers
    undecayed = {id(one) for group in groups if not group["weight_decay"] for one in group["params"]}
    assert id(network.backbone.pos_embed) in undecayed
    assert sum(len(group["params"]) for group in groups) == 1 + len(list(network.parameters()))


def test_frozen_stages_of_other_backbones_do_not_learn():
    network = EmbeddingNetwork("convnext_atto", 16)

    parameter_groups(network, ArcFace(3, 16), replace(recipe_for("convnext_atto"), frozen_stages=1))

    still = {name.partition(".")[0] for name, one in network.backbone.named_parameters() if not one.requires_grad}
    assert still == {"stem", "stages"}
    assert not any(one.requires_grad for one in network.backbone.stages[0].parameters())
    assert all(one.requires_grad for one in network.backbone.stages[1].parameters())


def test_a_vit_of_another_size_keeps_its_neck_and_its_positions(tmp_path):
    torch.manual_seed(0)
    network = EmbeddingNetwork(VIT, 16, size=32).eval()
    about = Provenance(data=[], start="random", created_at="2026-01-01T00:00:00Z")
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, network, name="small", preprocessing=Preprocessing(size=32), provenance=about)

    larger = load_start(path, replace(resized(recipe_for(VIT), 64, 1), dim=16), CPU)

    assert larger.trained_neck
    assert larger.backbone.pos_embed.shape[1] == 1 + 4 * 4
    torch.testing.assert_close(larger.neck.linear.weight, network.neck.linear.weight, atol=1e-3, rtol=1e-3)


def test_a_recipe_for_a_backbone_of_fixed_size_does_not_grow_its_images():
    assert recipe_for(VIT).sizes == [224] * 8
    assert len(set(recipe_for("convnext_atto").sizes)) > 1


@pytest.mark.parametrize("name", ["tf_efficientnetv2_b9", "hf-hub:someone/model", "local-dir:/tmp", "", f"{VIT}.none"])
def test_a_backbone_that_there_is_not_is_refused_by_name(name):
    with pytest.raises(InvalidInput, match=r"has no"):
        recipe_for(name)


def test_gem_pools_maps_and_nothing_else():
    assert EmbeddingNetwork("resnet18", 8, "gem").eval()(torch.randn(1, 3, 64, 64)).shape == (1, 8)
    with pytest.raises(InvalidInput, match="gem"):
        EmbeddingNetwork(VIT, 8, "gem")


def test_a_rival_of_another_family_is_known_by_its_file_name(tmp_path):
    weights = weights_of("convnext_atto", tmp_path / "convnext_atto.d2_in1k.safetensors", classes=10)
    judged = read_card(SHIPPED)

    rival = load_rival(weights, judged, Settings(device="cpu"))

    assert rival.card.architecture == "convnext_atto.d2_in1k"
    assert rival.dim == backbones.create("convnext_atto").num_features
