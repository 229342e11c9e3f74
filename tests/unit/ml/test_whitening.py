"""A gallery's own vectors whiten a model: what they have in common goes, and the file keeps it."""

import numpy as np
import pytest
import torch

from ml.card import Provenance
from ml.checkpoint import load_checkpoint, save_checkpoint
from ml.network import EmbeddingNetwork, Whitening
from ml.preprocess import Preprocessing
from ml.runtimes.torch_forward import torch_embedder
from ml.whitening import LEAST, fit_whitening, save_whitened
from umbel.base.errors import Conflict, InvalidInput
from umbel.base.settings import Settings

ABOUT = Provenance(data=["drawings"], start="random", created_at="2026-01-01T00:00:00Z")


@pytest.fixture
def vectors() -> np.ndarray:
    """500 of unit length around a mean of their own, wide in some of 32 directions."""
    rng = np.random.default_rng(1)
    drawn = rng.normal(size=(500, 32)) * np.geomspace(1, 0.1, 32) + rng.normal(size=32)
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def through(whitening: Whitening, vectors: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return whitening(torch.from_numpy(vectors)).numpy()


def test_centered_vectors_are_the_directions_from_their_mean(vectors):
    centered = vectors - vectors.mean(0)
    wanted = centered / np.linalg.norm(centered, axis=1, keepdims=True)

    np.testing.assert_allclose(through(fit_whitening(vectors), vectors), wanted, atol=1e-5)


def test_strength_evens_out_how_far_the_vectors_spread(vectors):
    def unevenness(strength: float) -> float:
        with torch.no_grad():
            mapped = fit_whitening(vectors, strength).linear(torch.from_numpy(vectors)).numpy()
        spreads = np.linalg.eigvalsh(np.cov(mapped.T))
        return float(spreads[-1] / spreads[0])

    assert unevenness(0) > unevenness(0.5) > unevenness(1) > 1
    centered = vectors - vectors.mean(0)
    covariance = np.cov(centered.T)
    assert unevenness(0) == pytest.approx(np.linalg.cond(covariance), rel=1e-2)


def test_a_new_whitening_changes_nothing(vectors):
    np.testing.assert_allclose(through(Whitening(32), vectors), vectors, atol=1e-6)


def test_few_vectors_are_refused(vectors):
    with pytest.raises(InvalidInput, match=f"at least {LEAST} vectors, and there are 99"):
        fit_whitening(vectors[:99])


def test_a_whitened_model_comes_back_from_its_file_and_says_what_it_is(network, vectors, tmp_path):
    plain, made = tmp_path / "plain.safetensors", tmp_path / "made.safetensors"
    card = save_checkpoint(
        plain, network, name="plain", preprocessing=Preprocessing(size=64), provenance=ABOUT, domain="drawings"
    )
    pictures = np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    settings = Settings(home=tmp_path, device="cpu", precision="fp32")

    about = save_whitened(made, plain, vectors, name="made", gallery="shapes", strength=0.25)

    before, after = (torch_embedder(*load_checkpoint(path), settings).embed([*pictures]) for path in (plain, made))
    np.testing.assert_allclose(after, through(fit_whitening(vectors, 0.25), before), atol=2e-3)
    assert np.abs(after - before).max() > 0.05
    assert (about.whitened, about.domain, about.calibration) == (True, "drawings", None)
    assert about.provenance.data == ["500 vectors of shapes, without labels"]
    assert about.provenance.start_sha256 == card.weights_sha256
    assert "drawings" in about.provenance.note


def test_a_whitened_model_is_not_whitened_again(vectors, tmp_path):
    path = tmp_path / "made.safetensors"
    network = EmbeddingNetwork("tf_efficientnetv2_b0", 32, whitened=True)
    save_checkpoint(path, network, name="made", preprocessing=Preprocessing(size=64), provenance=ABOUT)

    with pytest.raises(Conflict, match="whitened already"):
        save_whitened(tmp_path / "again.safetensors", path, vectors, name="again", gallery="shapes")
