"""An exported model gives other programs the vectors that Umbel stores, and says how to feed it."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cli import models as cli
from ml.card import Provenance
from ml.checkpoint import load_checkpoint, save_checkpoint
from ml.network import EmbeddingNetwork
from ml.preprocess import Preprocessing
from ml.runtimes.export import SUFFIXES, export
from ml.runtimes.openvino_forward import core
from ml.runtimes.parity import probe_set
from ml.runtimes.torch_forward import ServedNetwork, reference_vectors
from umbel.base.errors import InvalidInput

ABOUT = Provenance(data=["none"], start="random", created_at="2026-01-01T00:00:00Z")


def checkpoint(path: Path, architecture: str = "convnext_atto", *, flip: bool = False) -> Path:
    torch.manual_seed(0)
    preprocessing = Preprocessing(size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25), flip_average=flip)
    network = EmbeddingNetwork(architecture, 16, size=32).eval()
    save_checkpoint(path, network, name="plates", preprocessing=preprocessing, provenance=ABOUT)
    return path


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
@pytest.mark.parametrize(
    ("architecture", "flip"),
    [
        ("convnext_atto", True),
        pytest.param("tf_efficientnetv2_b0", False, marks=pytest.mark.slow),
        pytest.param("vit_tiny_patch16_224", False, marks=pytest.mark.slow),
    ],
)
def test_an_exported_model_gives_the_same_vectors_and_says_how_to_feed_it(tmp_path, kind, architecture, flip):
    path = checkpoint(tmp_path / "plates.safetensors", architecture, flip=flip)
    out = tmp_path / "deeper" / f"plates{SUFFIXES[kind]}"

    export(path, out, kind)

    network, card = load_checkpoint(path)
    images = probe_set(32)
    wanted = reference_vectors(ServedNetwork(network, card.preprocessing), images)
    model = core().read_model(out)
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core().compile_model(model, "CPU", options)
    for count in (1, len(images)):
        found = compiled({"images": images[:count]})["embeddings"]
        np.testing.assert_allclose((found * wanted[:count]).sum(1), 1, atol=1e-4)
    facts = facts_of(out, kind)
    assert facts["preprocessing"] == json.loads(path.with_suffix(".json").read_text())["preprocessing"]
    assert (facts["weights_sha256"], facts["name"]) == (card.weights_sha256, "plates")
    assert facts["output"]["shape"] == ["n", 16]


def facts_of(out: Path, kind: str) -> Any:
    if kind == "openvino":
        return json.loads(core().read_model(out).get_rt_info(["umbel"]).astype(str))
    import onnx  # noqa: PLC0415

    return json.loads({one.key: one.value for one in onnx.load(out).metadata_props}["umbel"])


def test_a_format_whose_package_is_missing_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)

    with pytest.raises(InvalidInput, match="pip install onnx"):
        export(checkpoint(tmp_path / "plates.safetensors"), tmp_path / "plates.onnx", "onnx")
    assert not (tmp_path / "plates.onnx").exists()


def test_the_command_writes_the_file_and_prints_the_facts(tmp_path):
    path = checkpoint(tmp_path / "plates.safetensors")
    out = tmp_path / "plates.xml"

    done = CliRunner().invoke(
        cli.models, ["export", str(path), "--format", "openvino", "--out", str(out), "--json"], catch_exceptions=False
    )

    assert out.is_file()
    assert json.loads(done.stdout)["input"]["shape"] == ["n", 32, 32, 3]
