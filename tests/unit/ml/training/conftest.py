"""What training runs start from in tests."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ml.network import EmbeddingNetwork
from ml.training.recipe import Recipe


@pytest.fixture(scope="session")
def start(tmp_path_factory) -> Path:
    """An untrained backbone, as timm would save it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("start") / "backbone.safetensors"
    save_file(EmbeddingNetwork(Recipe().architecture).backbone.state_dict(), path)
    return path
