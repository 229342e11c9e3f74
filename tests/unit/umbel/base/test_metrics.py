"""Processes that share their figures: each counts in files of its own, taken up before it is asked anything."""

import subprocess
import sys

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
