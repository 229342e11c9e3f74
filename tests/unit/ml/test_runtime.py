"""The embedder on the shipped checkpoint."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from core.errors import InvalidInput
from core.settings import Settings
from core.types import Embedder
from ml import runtime
from ml.card import Provenance
from ml.checkpoint import load_checkpoint, save_checkpoint
from ml.preprocess import Preprocessing
from ml.runtime import TorchEmbedder, load_embedder, probe_pictures
from tests.unit.ml.conftest import as_file, draw


@pytest.fixture(scope="module")
def embedder() -> TorchEmbedder:
    return load_embedder(Settings(home=Path("/nonexistent"), batch_size=4))


@pytest.fixture(scope="module")
def pixels(embedder) -> list[np.ndarray]:
    return [embedder.decode(as_file(draw(kind, seed, side=150))) for kind in range(3) for seed in range(2)]


def test_it_is_the_embedder_that_services_are_handed(embedder):
    promised: Embedder = embedder

    assert (promised.dim, promised.batch_size, len(promised.weights_sha256)) == (512, 4, 64)


def test_embeddings_are_float32_of_unit_length(embedder, pixels):
    vectors = embedder.embed(pixels)

    assert (vectors.shape, vectors.dtype) == ((6, 512), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_order_is_kept_and_company_changes_nothing(embedder, pixels):
    together = embedder.embed(pixels)
    alone = np.concatenate([embedder.embed([one]) for one in pixels])

    assert (together * alone).sum(1).min() > 0.99
    assert ((together @ alone.T).argmax(1) == np.arange(len(pixels))).all()


def test_nothing_in_nothing_out(embedder):
    assert embedder.embed([]).shape == (0, 512)


def test_threads_may_share_it(embedder, pixels):
    alone = embedder.embed(pixels)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: embedder.embed(pixels), range(8)):
            np.testing.assert_allclose((vectors * alone).sum(1), 1, atol=1e-3)


def test_pictures_of_one_kind_are_nearer_than_others(embedder, pixels):
    similarity = (vectors := embedder.embed(pixels)) @ vectors.T
    np.fill_diagonal(similarity, -1)

    assert (similarity.argmax(1) // 2 == np.arange(6) // 2).all()


def test_bf16_that_is_unfaithful_is_refused(embedder, monkeypatch):
    monkeypatch.setattr(TorchEmbedder, "_bf16_agreement", lambda self: 0.9)

    assert embedder._pick_precision("bf16") == "fp32"


def test_auto_is_fp32_where_bf16_is_only_emulated(embedder, monkeypatch):
    monkeypatch.setattr(runtime, "has_native_bf16", lambda device: False)

    assert embedder._pick_precision("auto") == "fp32"


def test_bf16_gives_the_embeddings_of_fp32(embedder):
    assert embedder._bf16_agreement() >= runtime.FAITHFUL


def test_a_device_that_is_not_there_is_invalid_input():
    with pytest.raises(InvalidInput, match="cuda:7"):
        runtime.pick_device("cuda:7")


def test_probe_pictures_are_always_the_same():
    np.testing.assert_array_equal(probe_pictures(32), probe_pictures(32))


def test_flip_averaged_embeddings_are_those_of_the_mirror_image(network, tmp_path):
    path = tmp_path / "flip.safetensors"
    provenance = Provenance(data=[], start="random", created_at="2026-01-01T00:00:00Z")
    look = Preprocessing(size=64, flip_average=True)
    save_checkpoint(path, network, name="flip", preprocessing=look, provenance=provenance)
    embedder = TorchEmbedder(*load_checkpoint(path), Settings(home=tmp_path, precision="fp32"))
    picture = probe_pictures(64, 1)[0]

    one, mirrored = embedder.embed([picture, np.ascontiguousarray(picture[:, ::-1])])

    assert one @ mirrored == pytest.approx(1, abs=1e-5)
