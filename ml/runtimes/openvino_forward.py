"""The network on OpenVINO, compiled for this CPU on loading. No torch. Source: docs.openvino.ai, "CPU device"."""

import importlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ml.runtimes.forward import Batch, bucket
from ml.runtimes.setups import Precision
from ml.threads import be_nice
from umbel.base.types import Vectors

BATCH = 16  # pictures in one forward: 8, 16 and 32 were equally fast (B0, bf16)
FOREGROUND, BACKGROUND, ALONE = "foreground", "background", "alone"
# In OpenVINO's words. What is not in int8 in a network that is quantized is in float32.
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


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
    when they are first needed. A model in int8 also has one for each of a few batch sizes, to which batches are
    padded: with sizes left open, OpenVINO is reported to crash in int8 on CPUs with AMX.
    """

    runtime, device, batch = "openvino", "cpu", BATCH

    def __init__(self, model: Any, precision: str, lanes: int, threads: int) -> None:
        """precision: fp32, bf16 or int8; lanes: forwards side by side; threads: of all of them together."""
        self.precision, self.lanes = precision, lanes
        self._model, self._threads = model, threads
        self._door = threading.Lock()
        first = (FOREGROUND, self._length(BATCH))
        self._compiled = {first: self._compile(*first)}
        self._mine = threading.local()  # a request serves one call at a time, so each thread has its own

    def begin_thread(self, *, alone: bool = False) -> None:
        """Nothing: OpenVINO computes on its own threads."""

    def __call__(self, batch: Batch, *, background: bool = False, alone: bool = False) -> Vectors:
        """(n, size, size, 3) → (n, dim) float32. Any number of threads may call; `lanes` of them compute."""
        kind = BACKGROUND if background else ALONE if alone and self.lanes > 1 else FOREGROUND
        length, count = self._length(len(batch)), len(batch)
        requests = vars(self._mine).setdefault("requests", {})
        if (kind, length) not in requests:
            requests[kind, length] = self._compiled_for(kind, length).create_infer_request()
        if length is not None and length > count:
            batch = np.concatenate([batch, np.zeros((length - count, *batch.shape[1:]), np.uint8)])
        return np.array(requests[kind, length].infer([batch], share_inputs=True, share_outputs=True)[0])[:count]

    def _length(self, count: int) -> int | None:
        """The batch size that a model is compiled for; None: any."""
        return bucket(count) if self.precision == "int8" else None

    def _compiled_for(self, kind: str, length: int | None) -> Any:
        with self._door:
            if (kind, length) not in self._compiled:
                begin = be_nice if kind == BACKGROUND else None
                with ThreadPoolExecutor(1, "compile", begin) as compiling:
                    self._compiled[kind, length] = compiling.submit(self._compile, kind, length).result()
            return self._compiled[kind, length]

    def _compile(self, kind: str, length: int | None) -> Any:
        options = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[self.precision],
            "NUM_STREAMS": 1 if kind == ALONE else self.lanes,
            "INFERENCE_NUM_THREADS": self._threads,
            "ENABLE_CPU_PINNING": False,  # the decoders, Postgres and the API want these cores too
        }
        model = self._model
        if length is not None:
            model = model.clone()
            size = model.input(0).partial_shape[1].get_length()
            model.reshape([length, size, size, 3])
        return core().compile_model(model, "CPU", options)


def native_precisions() -> list[Precision]:
    """Arithmetics that this CPU has instructions for, the most exact first. Which is fastest is another question."""
    return ["fp32", "bf16"] if "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else ["fp32"]
