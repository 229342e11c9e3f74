"""Cores, and how threads share them."""

import os
import sys
import threading
from contextlib import suppress

NICE = 15  # of background threads: about a thirtieth of a core that somebody else wants too


def be_nice() -> None:
    """Let this thread, and those it starts, run when no other wants the core. On Linux each has its own priority."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
