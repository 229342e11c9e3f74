"""The whole loop on a real stack: from labelled pictures in the gallery to the active model, refused, and back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ml.card import Provenance
from ml.checkpoint import now, save_checkpoint
from ml.network import EmbeddingNetwork
from ml.preprocess import Preprocessing
from ml.shipped import SHIPPED
from tests.stacks import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

RECIPE = (
    *("--epochs", "1", "--members", "1", "--size", "64", "--batch-size", "16"),
    *("--held-out-classes", "0", "--validation", "0.5"),
)


@pytest.fixture(scope="module")
def garden(stack: Stack) -> Stack:
    """A stack with 64 labelled pictures."""
    stack.umbel("up", "--detach")
    folder = stack.home / "garden"
    stack.umbel("sample", folder, "--species", 4, "--per-species", 16, "--size", 96)
    stack.umbel("import", folder, "--collection", "garden", "--label-from-folder", "--wait")
    return stack


def states(stack: Stack) -> dict[str, str]:
    return {one["name"]: one["state"] for one in json.loads(stack.umbel("models", "list", "--json").stdout)}


def improve(stack: Stack, *, check: bool) -> tuple[int, dict[str, Any], str]:
    done = stack.umbel(
        "train", "--from-collection", "garden", "--out", stack.home / "models", "--name", "mine", "--start", SHIPPED,
        *RECIPE, "--activate-if-better", "--json", check=check,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout), done.stderr


def test_one_command_from_labelled_pictures_to_a_verdict(garden: Stack) -> None:
    code, found, err = improve(garden, check=False)
    report = found["reindex"]["reindex"]["report"]
    assert (report["active"], report["candidate"], report["pictures"], report["missing"]) == ("umbel-b0", "mine", 64, 0)
    assert report["learnt_from"] + report["judged"]["queries"] == 64, "judged on what it has not learnt from"
    assert report["gate"]["passed"] or report["gate"]["reasons"], err
    assert (code == 0) == report["switched"] == report["gate"]["passed"]
    assert states(garden)["mine"] == ("active" if report["switched"] else "ready")
    assert not (garden.home / "models" / "mine.loop.json").exists()


def test_a_model_that_has_learnt_nothing_is_refused_with_a_report_to_read(garden: Stack) -> None:
    bad = make_bad(garden.home / "bad.safetensors")
    garden.umbel("models", "register", bad)
    before = states(garden)
    done = garden.umbel("reindex", "bad", "--activate", "--report", garden.home / "bad.md", check=False)
    assert done.returncode == 1
    assert "The gate: not passed." in done.stdout
    assert "MAP@R fell by" in done.stdout
    assert "umbel models retire" in (garden.home / "bad.md").read_text()
    assert [name for name, state in states(garden).items() if state == "active"] == [
        name for name, state in before.items() if state == "active"
    ]
    assert "MAP@R fell by" in garden.umbel("models", "show", "bad").stdout


def test_switched_by_hand_gone_back_and_retired(garden: Stack) -> None:
    (active,) = (name for name, state in states(garden).items() if state == "active")
    garden.umbel("models", "activate", "bad")
    assert states(garden)["bad"] == "active"
    image = next((garden.home / "garden").rglob("*.jpg"))
    assert json.loads(garden.umbel("similar", image, "-k", "1", "--json").stdout)["matches"]
    garden.umbel("models", "rollback")
    assert states(garden)[active] == "active"
    garden.umbel("models", "retire", "bad", "--yes")
    rejected = garden.umbel("reindex", "bad", check=False)
    assert (rejected.returncode, rejected.stderr.count("\n"), "retired" in rejected.stderr) == (1, 1, True)


def test_everything_is_embedded_anew_with_the_active_model(garden: Stack) -> None:
    (active,) = (name for name, state in states(garden).items() if state == "active")
    job = json.loads(garden.umbel("reindex", "--json").stdout)
    report = job["reindex"]["report"]
    assert (report["active"], report["candidate"], report["missing"]) == (active, f"{active}@2", 0)
    assert (job["counts"]["indexed"], report["overlap_at_10"] > 0.9, report["switched"]) == (64, True, True)
    assert states(garden)[f"{active}@2"] == "active"
    garden.umbel("models", "rollback")
    assert states(garden)[active] == "active"


def test_a_registered_model_is_exported_by_its_name(garden: Stack) -> None:
    (known,) = (one for one in json.loads(garden.umbel("models", "list", "--json").stdout) if one["name"] == "umbel-b0")
    out = garden.home / "exported.xml"

    told = json.loads(
        garden.umbel("models", "export", "umbel-b0", "--format", "openvino", "--out", out, "--json").stdout
    )
    unknown = garden.umbel("models", "export", "no-such-model", "--format", "openvino", check=False)

    assert (told["weights_sha256"], told["name"], out.is_file()) == (known["weights_sha256"], "umbel-b0", True)
    assert (unknown.returncode, unknown.stderr.count("\n"), "no-such-model" in unknown.stderr) == (1, 1, True)


def test_the_model_for_flowers_is_registered_by_its_name(garden: Stack) -> None:
    told = json.loads(garden.umbel("models", "add", "umbel-b0-flowers", "--json").stdout)

    assert (told["name"], told["domain"], states(garden)["umbel-b0-flowers"]) == (
        "umbel-b0-flowers",
        "flowers",
        "registered",
    )


def test_what_does_not_fit_its_card_is_refused_in_one_line(garden: Stack) -> None:
    tampered = make_bad(garden.home / "tampered.safetensors")
    tampered.write_bytes(tampered.read_bytes() + b"!")
    rejected = garden.umbel("models", "register", tampered, check=False)
    assert (rejected.returncode, rejected.stdout, rejected.stderr.count("\n")) == (1, "", 1)
    assert "SHA-256 differs" in rejected.stderr


def make_bad(path: Path) -> Path:
    torch.manual_seed(0)
    save_checkpoint(
        path,
        EmbeddingNetwork("tf_efficientnetv2_b0", 64),
        name=path.stem,
        preprocessing=Preprocessing(size=64),
        provenance=Provenance(data=[], start="nothing", created_at=now()),
    )
    return path


def test_the_active_model_is_whitened_on_a_collection_without_labels(garden: Stack) -> None:
    garden.umbel("sample", garden.home / "more", "--species", 8, "--per-species", 8, "--size", 96)
    garden.umbel("import", garden.home / "more", "--collection", "more", "--wait")

    few = garden.umbel("models", "whiten", "garden", "--out", garden.home / "models", check=False)
    made = garden.umbel("models", "whiten", "--name", "centered", "--out", garden.home / "models", "--json")

    assert (few.returncode, few.stderr.count("\n"), "at least 100 vectors" in few.stderr) == (1, 1, True)
    assert json.loads(made.stdout)["state"] == "registered"
    garden.umbel("reindex", "centered", check=False)
    garden.umbel("models", "activate", "centered")
    image = next((garden.home / "garden").rglob("*.jpg"))
    matches = json.loads(garden.umbel("similar", image, "-k", "64", "--json").stdout)["matches"]
    # Around their own mean as many are on the other side, where all were alike before.
    assert matches[0]["distance"] < 0.05
    assert max(one["distance"] for one in matches) > 0.9
    garden.umbel("models", "rollback")
