"""Processes that share their figures: each counts in files of its own, taken up before it is asked anything."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import can_mount, with_disk
from umbel.base import settings as settings_module
from umbel.base.settings import SHARED_METRICS, Settings, share_metrics

FORKED = """
import os, resource
from umbel.base import metrics
pid = os.fork()
if pid:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
metrics.begin_counting()
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # as when the disk of the figures is full
metrics.FAILED_WAKEUPS.inc()
metrics.QUERY_VECTORS.observe(1)
os._exit(0)
"""


def test_a_forked_process_counts_where_no_file_can_be_made_any_more(tmp_path: object) -> None:
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": "."}
    done = subprocess.run([sys.executable, "-c", FORKED], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# In a namespace of its own: a file system of 4 MiB, which is full when the forked process counts.
FULL = """
import os
from pathlib import Path
from umbel.base import metrics
pid = os.fork()
if pid:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
metrics.begin_counting()
try:
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"], "fill").write_bytes(bytes(2**23))
except OSError:
    pass
for number in range(300):
    metrics.REQUESTS.labels("GET", f"/route/{number}", "200").observe(1)
assert b"/route/299" in metrics.counted()
os._exit(0)
"""


@pytest.mark.skipif(not can_mount(), reason="needs root and mount namespaces")
@pytest.mark.parametrize("room", ["4m", "1m"], ids=["full later", "full from the beginning"])
def test_a_process_whose_figures_have_no_room_serves_on(room: str, tmp_path: Path) -> None:
    environment = {**os.environ, SHARED_METRICS: str(tmp_path), "PYTHONPATH": "."}
    done = subprocess.run(
        [*with_disk(str(tmp_path), f"size={room}"), sys.executable, "-c", FULL],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def shared_by(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Path:
    monkeypatch.setenv(SHARED_METRICS, "")  # to be put back
    share_metrics(settings)
    return Path(os.environ[SHARED_METRICS])


def test_two_stacks_on_one_port_number_keep_their_figures_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = shared_by(monkeypatch, Settings(home=tmp_path / "a", host="127.0.0.1"))
    (one / "counter_1.db").touch()
    others = {
        shared_by(monkeypatch, Settings(home=tmp_path / home, host=host))
        for home, host in (("b", "127.0.0.1"), ("a", "127.0.0.2"))
    }
    assert (one / "counter_1.db").exists()
    assert len(others - {one}) == 2
    for folder in (one, *others):
        shutil.rmtree(folder)


def test_figures_are_not_kept_where_there_is_little_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings_module, "METRICS_ROOM", 2**60)
    folder = shared_by(monkeypatch, Settings(home=tmp_path))
    assert folder.parent != Path("/dev/shm")
    shutil.rmtree(folder)
