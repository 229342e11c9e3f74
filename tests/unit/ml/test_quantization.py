"""A model in int8 is a model of its own that runs on OpenVINO alone, near to the one in float."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ml.card import Provenance, card_path, read_card
from ml.checkpoint import load_checkpoint, save_checkpoint
from ml.network import EmbeddingNetwork
from ml.preprocess import Preprocessing
from ml.quantization import LEAST, check_quantized, save_quantized
from ml.runtime import load_embedder
from ml.runtimes.conversion import read_conversion
from ml.runtimes.int8_file import unpack
from ml.runtimes.openvino_forward import OpenVinoForward
from ml.runtimes.parity import probe_images
from ml.runtimes.torch_forward import ServedNetwork, reference_vectors
from tests.command_line import umbel_here
from umbel.base.errors import BadCheckpoint, Conflict, InvalidInput
from umbel.base.settings import Settings

SIZE = 32


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("float") / "plates.safetensors"
    about = Provenance(data=["none"], start="random", created_at="2026-01-01T00:00:00Z")
    network = EmbeddingNetwork("test_efficientnet", 16).eval()
    save_checkpoint(path, network, name="plates", preprocessing=Preprocessing(size=SIZE), provenance=about)
    return path


@pytest.fixture(scope="module")
def quantized(checkpoint: Path) -> Path:
    """With an aim that is out of reach, so that layers are ranked and some stay in float."""
    pytest.importorskip("nncf")
    path = checkpoint.with_name("plates-int8.safetensors")
    pictures = [*probe_images(SIZE, LEAST)]
    save_quantized(path, checkpoint, pictures, name="plates-int8", source="drawings", aim=1.1)
    return path


@pytest.mark.slow
def test_it_is_another_model_whose_vectors_are_near(checkpoint, quantized, tmp_path):
    embedder = load_embedder(Settings(home=tmp_path, device="cpu", measure_seconds=0, checkpoint=quantized))
    network, card = load_checkpoint(checkpoint)
    pictures = probe_images(SIZE, 21)

    cosines = (
        embedder.embed([*pictures]) * reference_vectors(ServedNetwork(network, card.preprocessing), pictures)
    ).sum(1)

    assert (embedder.runtime, embedder.precision) == ("openvino", "int8")
    assert embedder.weights_sha256 != card.weights_sha256
    assert 0.9 < cosines.min() < 0.999999


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 2])
def test_a_vector_is_the_same_whatever_it_is_computed_with(quantized, tmp_path, lanes):
    unpack(quantized, tmp_path / "network")
    converted = read_conversion(tmp_path / "network")
    forward = OpenVinoForward(converted.model, "int8", lanes=lanes, threads=2)

    np.testing.assert_allclose(np.linalg.norm(converted.reference, axis=1), 1, atol=1e-5)
    for count in (1, 3, 8):  # padded to the sizes that are compiled
        np.testing.assert_allclose(forward(converted.probe[:count]), converted.reference[:count], atol=1e-3)


@pytest.mark.slow
def test_its_card_says_so_and_what_needs_floats_refuses_it(quantized):
    card = read_card(quantized)

    made = card.quantization
    assert made is not None
    assert (made.pictures, made.judges, card.calibration) == (LEAST * 4 // 5, LEAST // 5, None)
    assert 0.9 < made.cosine_p1 <= made.cosine_p50 <= 1
    assert made.in_float > 0
    assert (card.provenance.start, card.name) == ("plates", "plates-int8")
    check_quantized(quantized)
    with pytest.raises(Conflict, match="int8"):
        load_checkpoint(quantized)
    with pytest.raises(InvalidInput, match="only OpenVINO"):
        load_embedder(Settings(checkpoint=quantized, device="cpu", runtime="torch"))


def test_what_holds_no_network_is_refused(checkpoint, tmp_path):
    path = tmp_path / "plates.safetensors"
    path.write_bytes(checkpoint.read_bytes())
    card_path(path).write_bytes(card_path(checkpoint).read_bytes())

    with pytest.raises(BadCheckpoint, match="no network of OpenVINO"):
        check_quantized(path)


@pytest.mark.slow
def test_the_command_takes_of_each_folder_as_many_and_need_not_register(checkpoint, tmp_path):
    for number, picture in enumerate(probe_images(SIZE, 60)):
        folder = tmp_path / ("many" if number < 35 else "few")
        folder.mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / f"{number}.png")
    (tmp_path / "few" / "none.png").write_bytes(b"no picture")
    folders = [f"--pictures={tmp_path / name}" for name in ("many", "few")]
    options = ["--count=50", f"--out={tmp_path}", "--no-register", "--json"]

    done = umbel_here("models", "quantize", str(checkpoint), *folders, *options)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    card = read_card(tmp_path / "plates-int8.safetensors")
    assert told == {"checkpoint": str(tmp_path / "plates-int8.safetensors"), "card": card.model_dump(mode="json")}
    assert card.provenance.data == ["40 pictures of many and few, without labels, for the ranges of int8"]


def test_a_training_that_could_not_be_quantized_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)

    done = umbel_here("train", str(tmp_path), "--out", str(tmp_path / "out"), "--int8")

    assert (done.returncode, done.stdout) == (1, "")
    assert "umbel[quantize]" in done.stderr


def test_few_pictures_teach_no_ranges(checkpoint, tmp_path):
    with pytest.raises(InvalidInput, match="at least 50"):
        save_quantized(tmp_path / "x.safetensors", checkpoint, [*probe_images(SIZE, 3)], name="x", source="drawings")
