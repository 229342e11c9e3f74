"""A worker in which a thread has no memory to begin ends; others would wait for that thread for ever."""

import subprocess
import sys

import pytest

from worker.watchdog import Exit

WITHOUT_MEMORY = """
import threading
from worker.watchdog import end_without_memory
end_without_memory()
class Starving(threading.Thread):
    def _bootstrap_inner(self):  # before it gives the sign that start() waits for
        raise MemoryError
threading.Thread.start({thread})
print("went on")
"""


@pytest.mark.parametrize(("thread", "status"), [("Starving()", Exit.OUT_OF_MEMORY), ("threading.Thread()", 0)])
def test_a_thread_that_cannot_begin_ends_the_process(thread: str, status: int) -> None:
    code = WITHOUT_MEMORY.format(thread=thread)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "went on" in done.stdout) == (status, not status), done.stderr
