"""Pictures drawn on the spot: nothing here needs a network, a GPU or the photographs."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from ml.network import EmbeddingNetwork
from umbel.base.settings import Settings

COLOURS = ("crimson", "gold", "royalblue", "orchid", "white", "seagreen")


def draw(kind: int, seed: int, side: int = 80) -> Image.Image:
    """A disc, square, triangle, … of the kind's colour, somewhere, on noise."""
    rng = np.random.default_rng((kind, seed))
    picture = Image.fromarray(rng.integers(40, 120, (side, side + 16, 3), dtype=np.uint8))
    x, y, radius = rng.uniform(0.35, 0.65) * side, rng.uniform(0.35, 0.65) * side, rng.uniform(0.2, 0.3) * side
    ink = ImageDraw.Draw(picture)
    if kind % 3 == 0:
        ink.ellipse((x - radius, y - radius, x + radius, y + radius), COLOURS[kind])
    else:
        ink.regular_polygon((x, y, radius), 2 + kind % 3 * 2, rotation=rng.uniform(0, 90), fill=COLOURS[kind])
    return picture


def as_file(picture: Image.Image, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    picture.save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="session")
def limits() -> Settings:
    return Settings(home=Path("/nonexistent"))


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """A folder of class folders of drawn pictures."""

    def make(classes: int = 3, pictures: int = 6, name: str = "shapes") -> Path:
        return plant(tmp_path / name, classes, pictures)

    return make


def plant(folder: Path, classes: int = 3, pictures: int = 6) -> Path:
    """Class folders of drawn pictures in `folder`, which is returned."""
    for kind in range(classes):
        (folder / f"kind{kind}").mkdir(parents=True)
        for seed in range(pictures):
            (folder / f"kind{kind}" / f"{seed}.jpg").write_bytes(as_file(draw(kind, seed)))
    return folder


@pytest.fixture(scope="session")
def network() -> EmbeddingNetwork:
    """An untrained network. Tests that change it must copy it."""
    torch.manual_seed(0)
    return EmbeddingNetwork("tf_efficientnetv2_b0", dim=32).eval()
