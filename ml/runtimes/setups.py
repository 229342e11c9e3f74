"""The ways in which a CPU can run the network, of which ml.runtimes.choice takes the fastest. No torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from umbel.base.machine import cores
from umbel.base.settings import Settings

Precision = Literal["fp32", "bf16", "int8"]


class Setup(BaseModel):
    """One way to run the network on a CPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: Literal["openvino", "torch"]
    precision: Precision
    lanes: int  # forwards side by side
    threads: int  # of all forwards together


def setups(settings: Settings, precisions: list[Precision], *, openvino: bool) -> list[Setup]:
    """Those that the settings allow; of two that are equally fast, the former is to be preferred.

    It is more exact, or needs less memory. precisions: what this CPU has natively, the most exact first.
    """
    wanted = precisions if settings.precision == "auto" else [settings.precision]
    threads = settings.model_threads or cores()
    found = []
    if openvino:
        found = [_openvino(precision, each, threads) for precision in wanted for each in _lanes(settings, threads)]
    if settings.runtime != "openvino":
        found += [_torch(precision, threads) for precision in wanted]
    return found


def int8_setups(settings: Settings) -> list[Setup]:
    """Those of a model in int8, which has one arithmetic and one runtime."""
    threads = settings.model_threads or cores()
    return [_openvino("int8", each, threads) for each in _lanes(settings, threads)]


def fallbacks(settings: Settings, *, openvino: bool) -> list[Setup]:
    """What runs the network should none of `setups` pass its parity check; the last always does."""
    threads = settings.model_threads or cores()
    return [*([_openvino("fp32", threads, threads)] if openvino else []), _torch("fp32", threads)]


def _lanes(settings: Settings, threads: int) -> list[int]:
    """One thread each, so that none waits for another within a forward; or two, which share a layer's weights."""
    return [threads] if settings.model_threads or threads == 1 else [threads, threads // 2]


def _openvino(precision: Precision, lanes: int, threads: int) -> Setup:
    return Setup(runtime="openvino", precision=precision, lanes=lanes, threads=threads)


def _torch(precision: Precision, threads: int) -> Setup:
    return Setup(runtime="torch", precision=precision, lanes=threads, threads=threads)
