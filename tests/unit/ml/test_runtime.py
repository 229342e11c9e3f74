"""Which runtime a model gets, and that none is taken which gives other vectors."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ml import devices, runtime
from ml.card import Provenance, read_card
from ml.checkpoint import load_checkpoint, save_checkpoint
from ml.preprocess import Preprocessing
from ml.runtime import computes_on_cpu, load_embedder
from ml.runtimes import torch_forward as on_torch
from ml.runtimes.choice import Measurement, list_measurements
from ml.runtimes.forward import bucket
from ml.runtimes.measuring import Task, Timing
from ml.runtimes.parity import REQUIRED, parity, probe_images, probe_set
from ml.runtimes.setups import Setup
from ml.runtimes.torch_forward import ServedNetwork, TorchForward, reference_vectors, torch_forward
from umbel.base.errors import InvalidInput
from umbel.base.settings import Settings


@pytest.fixture(scope="module")
def settings(network, tmp_path_factory) -> Settings:
    """Of a home in which a small model is."""
    home = tmp_path_factory.mktemp("home")
    path = home / "small.safetensors"
    provenance = Provenance(data=[], start="random", created_at="2026-01-01T00:00:00Z")
    save_checkpoint(path, network, name="small", preprocessing=Preprocessing(size=64), provenance=provenance)
    return Settings(home=home, checkpoint=path, device="cpu")


@pytest.fixture(scope="module")
def converted(settings) -> Settings:
    """Of a home in which it was converted already."""
    assert load_embedder(settings).runtime == "openvino"
    return settings


def conversions(settings: Settings) -> list[Path]:
    return list((settings.home / "models" / "openvino").iterdir())


def answer(settings: Settings, program: str) -> Any:
    """What a process of its own prints at last, as JSON; it may compute on all cores."""
    environment = {
        "UMBEL_HOME": str(settings.home), "UMBEL_CHECKPOINT": str(settings.checkpoint), "UMBEL_DEVICE": "cpu",
        "UMBEL_MEASURE_SECONDS": "0",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=Path.cwd(), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_model_that_was_converted_before_needs_no_torch(converted):
    program = """
import json, sys
from umbel.base.settings import Settings
from ml.runtime import load_embedder
embedder = load_embedder(Settings())
print(json.dumps([embedder.runtime, "torch" in sys.modules, "openvino_telemetry.main" in sys.modules]))
"""
    assert answer(converted, program) == ["openvino", False, False]


@pytest.mark.slow
def test_a_signal_is_handled_after_models_have_come_and_gone(converted):
    """It ended the process where the CPU has AMX: see `ml.runtimes.openvino_forward.core`."""
    program = """
import gc, json, os, signal
from umbel.base.settings import Settings
from ml.runtime import load_embedder
first, second, handled = load_embedder(Settings()), load_embedder(Settings()), []
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: handled.append(True))
os.kill(os.getpid(), signal.SIGUSR1)
print(json.dumps(handled))
"""
    assert answer(converted, program) == [True]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux shows them")
def test_loading_on_torch_leaves_no_thread_behind_and_one_picture_changes_none(settings):
    """GNU's OpenMP lets all threads sleep between two loops once they are more than the cores; and torch forgets how it
    computes each layer whenever the number of a thread's own changes. Either doubles the time of a search by picture.
    """
    program = """
import json, os, time
import numpy as np, torch
from umbel.base.settings import Settings
from ml.runtime import load_embedder
threads = lambda: len(os.listdir("/proc/self/task"))
torch.zeros(1)
before = threads()
embedder = load_embedder(Settings(runtime="torch", model_threads=2))
until = time.monotonic() + 10
while (left := threads() - before) and time.monotonic() < until:  # they end soon after the one they worked for
    time.sleep(0.01)
picture = np.zeros((64, 64, 3), np.uint8)
embedder.embed([picture])
changed = []
torch.set_num_threads = changed.append
embedder.embed([picture])
print(json.dumps([left, changed]))
"""
    assert answer(settings, program) == [0, []]


@pytest.mark.slow
def test_a_conversion_that_gives_other_vectors_is_refused_and_made_anew(converted):
    [place] = conversions(converted)
    with np.load(place / "probe.npz") as kept:
        np.savez(place / "probe.npz", probe=kept["probe"][::-1], reference=kept["reference"])

    rejected = load_embedder(converted)
    again = load_embedder(converted)

    assert (rejected.runtime, again.runtime) == ("torch", "openvino")
    assert again.parity > REQUIRED


@pytest.mark.slow
def test_a_damaged_conversion_is_made_anew(converted):
    [place] = conversions(converted)
    (place / "network.xml").write_text("<net")

    assert load_embedder(converted).runtime == "openvino"
    assert (place / "network.xml").stat().st_size > 1000


@pytest.mark.slow
def test_a_home_that_cannot_be_written_to_costs_only_time(settings, tmp_path):
    (tmp_path / "home").write_text("not a folder")

    embedder = load_embedder(settings.model_copy(update={"home": tmp_path / "home"}))

    assert embedder.runtime == "openvino"


def test_what_openvino_cannot_do_is_said():
    with pytest.raises(InvalidInput, match="cuda:1"):
        computes_on_cpu(Settings(runtime="openvino", device="cuda:1"))

    assert not computes_on_cpu(Settings(device="cuda"))
    assert computes_on_cpu(Settings(runtime="torch", device="cpu"))


@pytest.mark.slow
def test_a_model_runs_in_the_setup_that_was_the_fastest_here(converted):
    settings = converted.model_copy(update={"measure_seconds": 0.02})

    embedder = load_embedder(settings)

    [found] = list_measurements(settings.home)
    fastest = found.timings[0]
    assert (embedder.runtime, embedder.precision, embedder.lanes) == tuple(fastest.setup.model_dump().values())[:3]
    assert {one.setup.runtime for one in found.timings} == {"openvino", "torch"}
    assert all(one.per_second for one in found.timings if one.setup.precision == "fp32")
    assert (found.model, found.packages["openvino"].split(".")[0]) == ("small", "2026")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "lanes"), [("torch", 2), ("openvino", 1)])
def test_what_figures_say_is_done(converted, monkeypatch, kind, lanes):
    def found(task: Task, *_: object) -> Measurement:
        setup = Setup(runtime=kind, precision="fp32", lanes=lanes, threads=2)
        return Measurement(
            model="small", weights_sha256="", preprocessing_hash="", machine={}, packages={}, batch_size=0,
            measured_at=datetime.now(UTC), calm=True, timings=[Timing(setup=setup, per_second=9, parity=1)],
        )  # fmt: skip

    monkeypatch.setattr(runtime, "measured", found)

    embedder = load_embedder(converted.model_copy(update={"model_threads": 2}))

    assert (embedder.runtime, embedder.precision, embedder.lanes) == (kind, "fp32", lanes)


def test_bf16_that_is_unfaithful_is_refused(settings, monkeypatch):
    network, card = load_checkpoint(settings.checkpoint)
    served = ServedNetwork(network, card.preprocessing)
    monkeypatch.setattr(on_torch, "reference_vectors", lambda network, probe: -reference_vectors(network, probe))

    forward, parity = torch_forward(served, 64, settings.model_copy(update={"precision": "bf16"}))

    assert (forward.precision, parity) == ("fp32", 1.0)


def test_auto_is_fp32_where_bf16_is_only_emulated(settings, monkeypatch):
    network, card = load_checkpoint(settings.checkpoint)
    monkeypatch.setattr(on_torch, "has_native_bf16", lambda device: False)

    forward, _ = torch_forward(ServedNetwork(network, card.preprocessing), 64, settings)

    assert forward.precision == "fp32"


def test_vectors_that_are_no_numbers_agree_with_nothing(settings):
    network, card = load_checkpoint(settings.checkpoint)
    forward = TorchForward(ServedNetwork(network, card.preprocessing), torch.device("cpu"), "fp32", lanes=1)
    probe = probe_images(64)

    assert parity(forward, probe, np.full((4, card.dim), np.nan, np.float32)) == -1
    assert parity(forward, probe, forward(probe)) == pytest.approx(1, abs=1e-5)


def test_a_device_that_is_not_there_is_invalid_input():
    with pytest.raises(InvalidInput, match="cuda:7"):
        devices.pick_device("cuda:7")


def test_probe_images_are_always_the_same():
    np.testing.assert_array_equal(probe_set(32), probe_set(32))
    assert probe_set(32).shape == (8, 32, 32, 3)


def test_batches_are_padded_by_less_than_they_hold():
    assert [bucket(count) for count in (1, 2, 3, 16, 17, 32, 33, 100, 128)] == [1, 2, 4, 16, 32, 32, 64, 128, 128]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_cuda_graphs_give_the_vectors_of_float32(settings):
    embedder = load_embedder(settings.model_copy(update={"device": "cuda"}))
    slow = load_embedder(settings.model_copy(update={"runtime": "torch", "precision": "fp32"}))
    pictures = [*probe_images(64, 37)]

    assert read_card(settings.checkpoint).dim == embedder.dim
    assert embedder.device == "cuda"
    for count in (1, 5, 37, 5):
        agreed = (embedder.embed(pictures[:count]) * slow.embed(pictures[:count])).sum(1)
        assert agreed.min() > REQUIRED
