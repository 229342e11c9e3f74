"""The embedder on the shipped checkpoint, on each runtime that this machine has."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ml.card import Provenance
from ml.checkpoint import load_checkpoint, save_checkpoint
from ml.embedder import NetworkEmbedder
from ml.preprocess import Preprocessing
from ml.runtime import load_embedder
from ml.runtimes.parity import probe_images
from ml.runtimes.torch_forward import torch_embedder
from tests.conversions import share_conversions
from tests.unit.ml.conftest import as_file, draw
from umbel.base.settings import Settings
from umbel.base.types import Embedder


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    home: Path = tmp_path_factory.mktemp("home")
    share_conversions(home)
    return home


@pytest.fixture(scope="module", params=["torch", "openvino"])
def embedder(request, home) -> NetworkEmbedder:
    loaded = load_embedder(Settings(home=home, batch_size=4, runtime=request.param, device="cpu"))
    assert loaded.runtime == request.param
    return loaded


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


def test_embeddings_are_those_of_torch_in_float32(embedder, home, pixels):
    reference = load_embedder(Settings(home=home, runtime="torch", precision="fp32", device="cpu")).embed(pixels)

    assert (embedder.embed(pixels) * reference).sum(1).min() > 0.999
    assert embedder.parity > 0.999


def test_order_is_kept_and_company_changes_nothing(embedder, pixels):
    together = embedder.embed(pixels)
    # In the background: alone, a picture gets a team of threads, which wait for each other while other tests run.
    alone = np.concatenate([embedder.embed([one], background=True) for one in pixels])

    assert (together * alone).sum(1).min() > 0.99
    assert ((together @ alone.T).argmax(1) == np.arange(len(pixels))).all()


def test_nothing_in_nothing_out(embedder):
    assert embedder.embed([]).shape == (0, 512)


def test_threads_may_share_it(embedder, pixels):
    some = pixels[:5]  # more than a batch holds
    expected = embedder.embed(some)

    def embed(turn: int) -> None:
        share = some[:1] if turn == 2 else some
        vectors = embedder.embed(share, background=turn % 2 == 1)
        np.testing.assert_allclose((vectors * expected[: len(share)]).sum(1), 1, atol=1e-3)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(embed, range(6)))


def test_pictures_of_one_kind_are_nearer_than_others(embedder, pixels):
    similarity = (vectors := embedder.embed(pixels)) @ vectors.T
    np.fill_diagonal(similarity, -1)

    assert (similarity.argmax(1) // 2 == np.arange(6) // 2).all()


@pytest.mark.parametrize("runtime", ["torch", pytest.param("openvino", marks=pytest.mark.slow)])
def test_flip_averaged_embeddings_are_those_of_the_mirror_image(runtime, network, tmp_path):
    path = tmp_path / "flip.safetensors"
    provenance = Provenance(data=[], start="random", created_at="2026-01-01T00:00:00Z")
    look = Preprocessing(size=64, flip_average=True)
    save_checkpoint(path, network, name="flip", preprocessing=look, provenance=provenance)
    embedder = load_embedder(Settings(home=tmp_path, checkpoint=path, precision="fp32", runtime=runtime, device="cpu"))
    picture = probe_images(64, 1)[0]

    one, mirrored = embedder.embed([picture, np.ascontiguousarray(picture[:, ::-1])])

    assert embedder.runtime == runtime
    assert one @ mirrored == pytest.approx(1, abs=1e-5)


def test_a_network_in_this_process_becomes_an_embedder(network, tmp_path):
    path = tmp_path / "made.safetensors"
    provenance = Provenance(data=[], start="random", created_at="2026-01-01T00:00:00Z")
    save_checkpoint(path, network, name="made", preprocessing=Preprocessing(size=64), provenance=provenance)

    embedder = torch_embedder(*load_checkpoint(path), Settings(home=tmp_path, device="cpu"))

    assert embedder.embed([*probe_images(64, 2)]).shape == (2, 32)
