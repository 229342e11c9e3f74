"""Cores, and how threads and processes share them."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from umbel.base.machine import cores, memory
from umbel.base.settings import Settings

# What a driver for NVIDIA's or AMD's GPUs, or Windows below Linux, leaves in /dev.
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
DECODER_BYTES = 2**29  # of memory for each: a large picture takes a few hundred MiB, and the model as much as several
NICE = 15  # of background threads: about a thirtieth of a core that other threads want too


def be_nice() -> None:
    """Let this thread, and those it starts, run when no other wants the core. On Linux each has its own priority."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def may_have_gpu() -> bool:
    """Whether there are signs of an NVIDIA or AMD GPU; torch, which knows, takes seconds to import."""
    return any(Path(device).exists() for device in GPU_DEVICES)


def decoding_processes(settings: Settings) -> int:
    """As many as the settings say; else what keeps the model busy.

    On CPUs a forward takes three times as long as decoding, and both share the cores. A GPU waits for all that they can
    decode. Where memory is limited, as in a container, there are no more than it has room for beside the model.
    """
    if settings.decode_processes:
        return settings.decode_processes
    room = max(1, memory() // DECODER_BYTES)
    if settings.device.startswith("cuda") or (settings.device == "auto" and may_have_gpu()):
        return min(cores(), room)
    return min(max(2, cores() // 4), room)
