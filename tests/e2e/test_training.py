"""Training as a process that is killed: it goes on where it was, and ends as if nothing had happened."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ml.network import EmbeddingNetwork
from tests.processes import UMBEL, Process, eventually
from tests.unit.ml.conftest import as_file, draw

pytestmark = pytest.mark.e2e


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind in range(3):
        (tmp_path / "shapes" / f"kind{kind}").mkdir(parents=True)
        for seed in range(8):
            (tmp_path / "shapes" / f"kind{kind}" / f"{seed}.jpg").write_bytes(as_file(draw(kind, seed)))
    return tmp_path / "shapes"


@pytest.fixture
def start(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_file(EmbeddingNetwork("tf_efficientnetv2_b0").backbone.state_dict(), tmp_path / "start.safetensors")
    return tmp_path / "start.safetensors"


def test_a_run_killed_in_training_and_again_in_its_refit_comes_to_the_same_end(folder, start, tmp_path):
    knobs = ("--size", "48", "--members", "2", "--batch-size", "6", "--validation", "0.25", "--epochs", "2", "--refit")
    environment = {"UMBEL_HOME": str(tmp_path / "home"), "UMBEL_DEVICE": "cpu"}

    def arguments(out: str) -> list[str]:
        return ["train", str(folder), "--out", str(tmp_path / out), "--start", str(start), *knobs, "--json"]

    def finish(out: str) -> dict:
        done = subprocess.run(
            [*UMBEL, *arguments(out)], capture_output=True, text=True, check=True, env={**os.environ, **environment}
        )
        return json.loads(done.stdout)

    whole = finish("whole")
    for state in ("umbel.unfinished", "umbel.refit.unfinished"):
        killed = Process(*arguments("killed"), log=tmp_path / state, **environment)
        eventually((tmp_path / "killed" / state).exists, within=600)
        killed.kill()
        assert not (tmp_path / "killed" / "umbel.safetensors").exists()

    resumed = finish("killed")

    assert resumed["card"]["weights_sha256"] == whole["card"]["weights_sha256"]
    assert resumed["card"]["metrics"] == whole["card"]["metrics"]
    assert resumed["epochs"] == whole["epochs"]
    assert not list((tmp_path / "killed").glob("*.unfinished"))
