"""Which runtime the model gets: the fastest one here that gives the vectors of torch in float32."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import structlog

from ml.card import ModelCard, verified_card
from ml.embedder import NetworkEmbedder
from ml.runtimes.conversion import converted, forget_conversion
from ml.runtimes.openvino_forward import OpenVinoForward, native_precisions
from ml.runtimes.parity import check_parity
from ml.shipped import find_checkpoint
from ml.threads import may_have_gpu
from umbel.base.errors import InvalidInput, UmbelError
from umbel.base.machine import cores
from umbel.base.settings import Settings

log = structlog.get_logger(__name__)


def load_embedder(settings: Settings) -> NetworkEmbedder:
    """The embedder that the settings ask for. Raises ModelNotFound, BadCheckpoint, InvalidInput."""
    return embedder_of(find_checkpoint(settings), settings)


def embedder_of(path: Path, settings: Settings) -> NetworkEmbedder:
    """The checkpoint at this path on the runtime that a worker would choose here. Raises as load_embedder does."""
    started = time.perf_counter()
    card = verified_card(path)
    embedder = (_on_openvino(path, card, settings) if may_use_openvino(settings) else None) or _on_torch(path, settings)
    log.info(
        "model_loaded",
        model=card.name,
        weights=card.weights_sha256[:12],
        path=str(path),
        device=embedder.device,
        runtime=embedder.runtime,
        precision=embedder.precision,
        parity=round(embedder.parity, 5),
        seconds=round(time.perf_counter() - started, 2),
    )
    return embedder


def may_use_openvino(settings: Settings) -> bool:
    """Whether the settings, and what is installed, lead to OpenVINO. Raises InvalidInput when they contradict."""
    if settings.runtime == "torch":
        return False
    if settings.runtime == "openvino":
        if settings.device not in ("auto", "cpu"):
            raise InvalidInput(f"UMBEL_RUNTIME=openvino runs on CPUs, and UMBEL_DEVICE is {settings.device!r}.")
        if find_spec("openvino") is None:
            raise InvalidInput("UMBEL_RUNTIME=openvino needs the package openvino, which is not installed.")
        return True
    return find_spec("openvino") is not None and (
        settings.device == "cpu" or (settings.device == "auto" and not _has_gpu())
    )


def _has_gpu() -> bool:
    """Whether torch finds a GPU. Importing torch takes seconds, so it is asked only where there are signs of one."""
    if sys.platform != "darwin" and not may_have_gpu():
        return False
    from ml.devices import pick_device  # noqa: PLC0415 - brings torch

    return pick_device("auto").type != "cpu"


def _on_openvino(path: Path, card: ModelCard, settings: Settings) -> NetworkEmbedder | None:
    """The model on OpenVINO in its fastest arithmetic that passes; None when there is none."""
    models = settings.home / "models"
    try:
        conversion = converted(path, card, models)
        for precision in native_precisions(settings.precision):
            forward = OpenVinoForward(conversion.model, precision, settings.model_threads or cores())
            passed, parity = check_parity(forward, conversion.probe, conversion.reference)
            if passed:
                return NetworkEmbedder(card, forward, settings, parity=parity)
    except UmbelError:
        raise
    except Exception as error:  # a conversion may raise nearly anything; torch can run all that we train
        log.warning("runtime_failed", runtime="openvino", error=str(error).strip()[-300:])
    forget_conversion(models, card)  # it may be damaged; the next start makes a new one
    return None


def _on_torch(path: Path, settings: Settings) -> NetworkEmbedder:
    from ml.checkpoint import load_checkpoint  # noqa: PLC0415 - brings torch, which OpenVINO does without
    from ml.runtimes.torch_forward import torch_embedder  # noqa: PLC0415

    # On a thread that ends, and with it the threads that torch computes on for it: were there more such threads than
    # cores, GNU's OpenMP would have all of them sleep between two loops, and one picture take twice as long.
    with ThreadPoolExecutor(1, "load") as loading:
        return loading.submit(lambda: torch_embedder(*load_checkpoint(path), settings)).result()
