"""The model on the fastest runtime here that gives the vectors of torch in float32; which it is: ml.runtimes.choice."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import structlog

from ml.card import ModelCard, verified_card
from ml.embedder import NetworkEmbedder
from ml.runtimes.choice import Measurement, measured
from ml.runtimes.conversion import Converted, converted, forget_conversion
from ml.runtimes.measuring import Task
from ml.runtimes.openvino_forward import OpenVinoForward, native_precisions
from ml.runtimes.parity import check_parity
from ml.runtimes.setups import Precision, Setup, fallbacks, int8_setups, setups
from ml.shipped import find_checkpoint
from ml.threads import may_have_gpu
from umbel.base.errors import BadCheckpoint, InvalidInput, UmbelError
from umbel.base.settings import Settings

log = structlog.get_logger(__name__)


def load_embedder(settings: Settings) -> NetworkEmbedder:
    """The embedder that the settings ask for. Raises ModelNotFound, BadCheckpoint, InvalidInput."""
    return embedder_of(find_checkpoint(settings), settings)


def embedder_of(path: Path, settings: Settings) -> NetworkEmbedder:
    """The checkpoint at this path on the runtime that a worker would choose here. Raises as load_embedder does."""
    started = time.perf_counter()
    card = verified_card(path)
    if card.quantization is not None:
        embedder = _in_int8(path, card, settings)
    else:
        embedder = _on_cpu(path, card, settings) if computes_on_cpu(settings) else _on_torch(path, settings)
    log.info(
        "model_loaded",
        model=card.name,
        weights=card.weights_sha256[:12],
        path=str(path),
        device=embedder.device,
        runtime=embedder.runtime,
        precision=embedder.precision,
        lanes=embedder.lanes,
        parity=round(embedder.parity, 5),
        seconds=round(time.perf_counter() - started, 2),
    )
    return embedder


def computes_on_cpu(settings: Settings) -> bool:
    """Whether the model runs on the CPU, where there are setups to choose from.

    Raises InvalidInput when the settings ask for a runtime that their device, or what is installed, does not have.
    """
    if settings.runtime == "openvino":
        if settings.device not in ("auto", "cpu"):
            raise InvalidInput(f"UMBEL_RUNTIME=openvino runs on CPUs, and UMBEL_DEVICE is {settings.device!r}.")
        if find_spec("openvino") is None:
            raise InvalidInput("UMBEL_RUNTIME=openvino needs the package openvino, which is not installed.")
        return True
    return settings.device == "cpu" or (settings.device == "auto" and not _has_gpu())


def _has_gpu() -> bool:
    """Whether torch finds a GPU. Importing torch takes seconds, so it is asked only where there are signs of one."""
    if sys.platform != "darwin" and not may_have_gpu():
        return False
    from ml.devices import pick_device  # noqa: PLC0415 - brings torch

    return pick_device("auto").type != "cpu"


def _on_cpu(path: Path, card: ModelCard, settings: Settings) -> NetworkEmbedder:
    """The model in the fastest setup that gives the vectors of torch in float32."""
    conversion = _conversion(path, card, settings)
    usable = setups(settings, _native_precisions(conversion), openvino=conversion is not None)
    known = _measured(path, card, conversion, usable, settings)
    ranking = [one.setup for one in known.timings if one.per_second is not None] if known else usable
    damaged = known is not None and not known.trusts_conversion
    for setup in [*ranking, *fallbacks(settings, openvino=conversion is not None)]:
        if setup.runtime == "torch":
            break
        if conversion and (embedder := _on_openvino(conversion, card, setup, settings)):
            return embedder
        damaged = True
    if damaged:
        forget_conversion(settings.home / "models", card)  # the next start makes a new one
    return _on_torch(path, settings.model_copy(update={"device": "cpu", "precision": setup.precision}))


def _in_int8(path: Path, card: ModelCard, settings: Settings) -> NetworkEmbedder:
    """A model in int8, on OpenVINO: its vectors are not those of another runtime, so there is none to fall back on."""
    conversion = _conversion(path, card, settings) if settings.device in ("auto", "cpu") else None
    if conversion is None:
        raise InvalidInput(
            f"{card.name} is in int8, which only OpenVINO on a CPU can run, and that is not to be had here."
        )
    usable = int8_setups(settings)
    known = _measured(path, card, conversion, usable, settings)
    for setup in [one.setup for one in known.timings if one.per_second] if known else usable:
        if embedder := _on_openvino(conversion, card, setup, settings):
            return embedder
    forget_conversion(settings.home / "models", card)
    raise BadCheckpoint(f"{card.name} gives other vectors here than where it was quantized, so it is not used.")


def _conversion(path: Path, card: ModelCard, settings: Settings) -> Converted | None:
    """The model in OpenVINO's form, unless the settings, what is installed, or an error forbid it."""
    if settings.runtime == "torch" or find_spec("openvino") is None:
        return None
    try:
        return converted(path, card, settings.home / "models")
    except UmbelError:
        raise
    except Exception as error:  # a conversion may raise nearly anything; torch can run all that we train
        log.warning("runtime_failed", runtime="openvino", error=str(error).strip()[-300:])
        return None


def _native_precisions(conversion: Converted | None) -> list[Precision]:
    if conversion is not None:
        return native_precisions()
    import torch  # noqa: PLC0415 - which is to run the model, then

    from ml.devices import has_native_bf16  # noqa: PLC0415

    return ["fp32", "bf16"] if has_native_bf16(torch.device("cpu")) else ["fp32"]


def _measured(
    path: Path, card: ModelCard, conversion: Converted | None, usable: list[Setup], settings: Settings
) -> Measurement | None:
    if conversion is not None and conversion.place is None:
        return None  # nothing can be kept in this home, so each start would measure
    return measured(task_of(path, conversion, usable, settings), card, settings.home)


def task_of(path: Path, conversion: Converted | None, usable: list[Setup], settings: Settings) -> Task:
    """The timing of these setups of the checkpoint at this path, and of its conversion, if a setup needs that."""
    return Task(
        checkpoint=path.absolute(),
        conversion=conversion and conversion.place,
        setups=usable,
        batch_size=settings.batch_size,
        seconds=settings.measure_seconds,
    )


def _on_openvino(conversion: Converted, card: ModelCard, setup: Setup, settings: Settings) -> NetworkEmbedder | None:
    """The model in this setup; None where that fails, or gives other vectors."""
    try:
        forward = OpenVinoForward(conversion.model, setup.precision, setup.lanes, setup.threads)
        passed, parity = check_parity(forward, conversion.probe, conversion.reference)
    except RuntimeError as error:
        log.warning("runtime_failed", runtime="openvino", error=str(error).strip()[-300:])
        return None
    return NetworkEmbedder(card, forward, settings, parity=parity) if passed else None


def _on_torch(path: Path, settings: Settings) -> NetworkEmbedder:
    from ml.checkpoint import load_checkpoint  # noqa: PLC0415 - brings torch, which OpenVINO does without
    from ml.runtimes.torch_forward import torch_embedder  # noqa: PLC0415

    # On a thread that ends, and with it the threads that torch computes on for it: were there more such threads than
    # cores, GNU's OpenMP would have all of them sleep between two loops, and one picture take twice as long.
    with ThreadPoolExecutor(1, "load") as loading:
        return loading.submit(lambda: torch_embedder(*load_checkpoint(path), settings)).result()
