"""Cores, and how threads and processes share them."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from umbel.base.settings import Settings

# What a driver for NVIDIA's or AMD's GPUs, or Windows below Linux, leaves in /dev.
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
NICE = 15  # of background threads: about a thirtieth of a core that other threads want too


def be_nice() -> None:
    """Let this thread, and those it starts, run when no other wants the core. On Linux each has its own priority."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def may_have_gpu() -> bool:
    """Whether there are signs of an NVIDIA or AMD GPU; torch, which knows, takes seconds to import."""
    return any(Path(device).exists() for device in GPU_DEVICES)


def decoding_processes(settings: Settings) -> int:
    """As many as the settings say; else what keeps the model busy.

    On CPUs a forward takes three times as long as decoding, and both share the cores. A GPU waits for all that they can
    decode.
    """
    if settings.decode_processes:
        return settings.decode_processes
    if settings.device.startswith("cuda") or (settings.device == "auto" and may_have_gpu()):
        return cores()
    return max(2, cores() // 4)
