"""How many children decode, for what machine."""

from pathlib import Path

import pytest

from ml import threads
from ml.threads import decoding_processes
from umbel.base.settings import Settings


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a GPU's driver would leave in /dev; it is not there yet."""
    device = tmp_path / "nvidiactl"
    monkeypatch.setattr(threads, "GPU_DEVICES", (str(device),))
    monkeypatch.setattr(threads, "cores", lambda: 16)
    monkeypatch.setattr(threads, "memory", lambda: 2**40)
    return device


def test_on_cpus_a_quarter_of_the_cores_decodes(driver: Path) -> None:
    assert decoding_processes(Settings()) == 4


def test_on_few_cores_there_are_two(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 1)
    assert decoding_processes(Settings()) == 2


def test_beside_a_gpu_every_core_decodes_unless_the_model_is_kept_from_it(driver: Path) -> None:
    driver.touch()
    assert [decoding_processes(Settings(device=device)) for device in ("auto", "cpu", "cuda:1")] == [16, 4, 16]


def test_a_container_of_little_memory_has_few(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 64)
    counts = []
    for memory in (2**29, 4 * 2**30):
        monkeypatch.setattr(threads, "memory", lambda memory=memory: memory)
        counts.append(decoding_processes(Settings(device="cuda")))
    assert counts == [1, 8]


def test_what_is_asked_for_counts(driver: Path) -> None:
    driver.touch()
    assert decoding_processes(Settings(decode_processes=3)) == 3
