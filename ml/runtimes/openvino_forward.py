"""The network on OpenVINO, compiled for this CPU on loading. No torch. Source: docs.openvino.ai, "CPU device"."""

import importlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ml.runtimes.forward import Batch
from ml.runtimes.setups import Precision
from ml.threads import be_nice
from umbel.base.types import Vectors

BATCH = 16  # pictures in one forward: 8, 16 and 32 were equally fast (B0, bf16)
FOREGROUND, BACKGROUND, ALONE = "foreground", "background", "alone"
PRECISIONS = {"fp32": "f32", "bf16": "bf16"}  # in OpenVINO's words


def library() -> Any:
    """OpenVINO, kept from reporting its use over the network as it does when imported. Raises ImportError."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # it does without, as documented
    return importlib.import_module("openvino")


_core: Any = None
_making = threading.Lock()


def core() -> Any:
    """OpenVINO's one Core in this process, which is never given up. Raises ImportError.

    On a CPU with AMX, every Core gives its thread an alternate signal stack of its own, and when it goes it puts back
    the one that it found. Of two, the first to go frees the stack that the second puts back: the next signal that
    Python handles then ends the process.
    """
    global _core  # noqa: PLW0603 - once a process is what it is for
    with _making:
        _core = _core or library().Core()
    return _core


class OpenVinoForward:
    """ml.runtimes.forward.Forward on OpenVINO's CPU device.

    OpenVINO computes on threads of its own, and which and how nice they are is settled when a model is compiled. So
    forwards in the background, and those that have all threads to themselves, have compiled models of their own, made
    when they are first needed.
    """

    runtime, device, batch = "openvino", "cpu", BATCH

    def __init__(self, model: Any, precision: str, lanes: int, threads: int) -> None:
        """precision: fp32 or bf16; lanes: forwards side by side; threads: of all of them together."""
        self.precision, self.lanes = precision, lanes
        self._model, self._threads = model, threads
        self._compiled = {FOREGROUND: self._compile(lanes)}
        self._door = threading.Lock()
        self._mine = threading.local()  # a request serves one call at a time, so each thread has its own

    def begin_thread(self, *, alone: bool = False) -> None:
        """Nothing: OpenVINO computes on its own threads."""

    def __call__(self, batch: Batch, *, background: bool = False, alone: bool = False) -> Vectors:
        """(n, size, size, 3) → (n, dim) float32. Any number of threads may call; `lanes` of them compute."""
        kind = BACKGROUND if background else ALONE if alone and self.lanes > 1 else FOREGROUND
        request = getattr(self._mine, kind, None)
        if request is None:
            request = self._compiled_for(kind).create_infer_request()
            setattr(self._mine, kind, request)
        return np.array(request.infer([batch], share_inputs=True, share_outputs=True)[0])

    def _compiled_for(self, kind: str) -> Any:
        with self._door:
            if kind not in self._compiled:
                begin = be_nice if kind == BACKGROUND else None
                with ThreadPoolExecutor(1, "compile", begin) as compiling:
                    side_by_side = 1 if kind == ALONE else self.lanes
                    self._compiled[kind] = compiling.submit(self._compile, side_by_side).result()
            return self._compiled[kind]

    def _compile(self, side_by_side: int) -> Any:
        options = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[self.precision],
            "NUM_STREAMS": side_by_side,
            "INFERENCE_NUM_THREADS": self._threads,
            "ENABLE_CPU_PINNING": False,  # the decoders, Postgres and the API want these cores too
        }
        return core().compile_model(self._model, "CPU", options)


def native_precisions() -> list[Precision]:
    """Arithmetics that this CPU has instructions for, the most exact first. Which is fastest is another question."""
    return ["fp32", "bf16"] if "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else ["fp32"]
