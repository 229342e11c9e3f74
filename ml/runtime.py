"""The embedder that workers run: a checkpoint on the hardware at hand."""

import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress

import numpy as np
import structlog
import torch
from torch.nn import functional as F

from core.errors import InvalidInput
from core.settings import Settings
from core.types import Pixels, Vectors
from ml.card import ModelCard
from ml.checkpoint import find_checkpoint, load_checkpoint
from ml.network import EmbeddingNetwork

# Below this cosine between the bf16 and the float32 embedding of one picture, bf16 is not the same model any more.
FAITHFUL = 0.999

log = structlog.get_logger(__name__)


# Pictures in one forward. On a CPU more of them leave its caches: 16 gave 329 a second where 32 gave 283 (B0, bf16).
CPU_BATCH, GPU_BATCH = 16, 128
NICE = 15  # of background threads: about a thirtieth of a core that somebody else wants too


class TorchEmbedder:
    """core.types.Embedder on torch. Load it once a process, never before a fork; any thread may call it."""

    def __init__(self, network: EmbeddingNetwork, card: ModelCard, settings: Settings) -> None:
        """Raises InvalidInput when the settings name a device that is not there."""
        self.card = card
        self._limits = settings
        self._device = pick_device(settings.device)
        network.eval().requires_grad_(False).fold_batch_norm()
        self._network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.precision = self._pick_precision(settings.precision)
        # On a CPU, forwards run side by side, each on one thread, rather than one after the other on all cores: no
        # thread then waits for another within a forward. On two cores that gave 306 pictures a second instead of 245,
        # and 209 instead of 77 with another program on one of them (a descheduled OpenMP thread holds up its team).
        self._lanes = (settings.model_threads or cores()) if self._device.type == "cpu" else 1
        self._forwards = ThreadPoolExecutor(self._lanes, "forward", self._begin_forward_thread)
        self._background = ThreadPoolExecutor(self._lanes, "background", self._begin_background_thread)

    def _begin_forward_thread(self) -> None:
        if self._device.type == "cpu":
            torch.set_num_threads(1)

    def _begin_background_thread(self) -> None:
        self._begin_forward_thread()
        if self._device.type == "cpu":
            be_nice()

    @property
    def weights_sha256(self) -> str:
        """Hash that names the model version, hex."""
        return self.card.weights_sha256

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.card.dim

    @property
    def batch_size(self) -> int:
        """Most pictures that one call should bring."""
        if self._limits.batch_size:
            return self._limits.batch_size
        return CPU_BATCH * self._lanes if self._device.type == "cpu" else GPU_BATCH

    @property
    def device(self) -> str:
        """Where the model runs, as torch spells it."""
        return str(self._device)

    def decode(self, data: bytes) -> Pixels:
        """File bytes → (size, size, 3) uint8, ready for `embed`. Thread-safe. Raises PictureError."""
        return self.card.preprocessing.decode(data, self._limits)

    def embed(self, pixels: Sequence[Pixels], *, background: bool = False) -> Vectors:
        """Decoded pictures → (n, dim) float32, each row of unit length, in order. Thread-safe.

        They are shared out among forwards that run side by side. background: on threads of their own which leave the
        cores to whoever else wants them, so that a search does not wait until a batch of a reindex is through.
        """
        if not len(pixels):
            return np.empty((0, self.dim), np.float32)
        step = min(math.ceil(len(pixels) / self._lanes), math.ceil(self.batch_size / self._lanes))
        shares = [np.stack(pixels[at : at + step]) for at in range(0, len(pixels), step)]
        forwards = self._background if background else self._forwards
        return np.concatenate(list(forwards.map(lambda share: self._forward(share, self.precision), shares)))

    def _forward(self, batch: Pixels, precision: str) -> Vectors:
        """(n, size, size, 3) uint8 → (n, dim) float32."""
        pictures = self.card.preprocessing.normalise(batch).to(self._device, non_blocking=True)
        with torch.inference_mode(), self._arithmetic(precision):
            vectors = self._network(pictures)
            if self.card.preprocessing.flip_average:
                vectors = F.normalize(vectors + self._network(pictures.flip(-1)))
        return vectors.float().cpu().numpy()

    def _arithmetic(self, precision: str) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, torch.bfloat16) if precision == "bf16" else nullcontext()

    def _pick_precision(self, wanted: str) -> str:
        """The arithmetic to use. bf16 only where it gives this checkpoint's embeddings, and fast: both are checked."""
        if wanted == "fp32" or (wanted == "auto" and not has_native_bf16(self._device)):
            return "fp32"
        worst = self._bf16_agreement()
        if worst >= FAITHFUL:
            return "bf16"
        log.warning("bf16_refused", cosine=round(worst, 5), needed=FAITHFUL, model=self.card.name)
        return "fp32"

    def _bf16_agreement(self) -> float:
        """Least cosine between bf16 and float32 embeddings over the probe pictures; -1 where bf16 does not run."""
        probe = probe_pictures(self.card.preprocessing.size)
        try:
            return float((self._forward(probe, "bf16") * self._forward(probe, "fp32")).sum(1).min())
        except RuntimeError as error:  # a device or an operator without bf16
            log.warning("bf16_failed", error=str(error).splitlines()[0])
            return -1.0


def be_nice() -> None:
    """Let this thread run when no other wants the core. Linux gives each thread a priority of its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_embedder(settings: Settings) -> TorchEmbedder:
    """The embedder that the settings ask for. Raises ModelNotFound, BadCheckpoint, InvalidInput."""
    started = time.perf_counter()
    path = find_checkpoint(settings)
    embedder = TorchEmbedder(*load_checkpoint(path), settings)
    log.info(
        "model_loaded",
        model=embedder.card.name,
        weights=embedder.weights_sha256[:12],
        path=str(path),
        device=embedder.device,
        precision=embedder.precision,
        seconds=round(time.perf_counter() - started, 2),
    )
    return embedder


def pick_device(wanted: str) -> torch.device:
    """The torch device of this name; auto: CUDA, else Apple's GPU, else the CPU. Raises InvalidInput."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidInput(f"The device {wanted!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def has_native_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than float32 here; emulated bf16 is many times slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def probe_pictures(size: int, count: int = 4) -> Pixels:
    """(count, size, size, 3) uint8, always the same: smooth colours, blobs with edges, and grain, as in photographs."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    pictures = []
    for _ in range(count):
        tilt = rng.uniform(-1, 1, (2, 3))
        picture = rng.uniform(0, 1, 3) + x[..., None] * tilt[0] + y[..., None] * tilt[1]
        for _ in range(12):
            (cx, cy), radius = rng.uniform(0, 1, 2), rng.uniform(0.04, 0.3)
            inside = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
            picture[inside] = rng.uniform(0, 1, 3) + rng.uniform(-0.3, 0.3) * x[inside][:, None]
        pictures.append(picture + rng.normal(0, 0.03, picture.shape))
    return (np.stack(pictures).clip(0, 1) * 255).astype(np.uint8)
