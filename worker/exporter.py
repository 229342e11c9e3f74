"""The worker's own page of metrics for Prometheus."""

import math
from collections.abc import Callable

from prometheus_client import start_http_server

from umbel.base.errors import StackError
from umbel.base.metrics import GPU_MEMORY
from umbel.base.settings import Settings


def serve_metrics(settings: Settings, device: str) -> None:
    """Answer scrapes on UMBEL_METRICS_PORT, if that is set. Raises StackError if the port cannot be used."""
    if not settings.metrics_port:
        return
    if device.startswith("cuda"):
        _watch_memory(device)
    try:
        start_http_server(settings.metrics_port, settings.metrics_host)
    except OSError as error:
        place = f"{settings.metrics_host}:{settings.metrics_port}"
        raise StackError(
            f"cannot serve metrics on {place} ({error.strerror}): each worker on a machine needs a UMBEL_METRICS_PORT"
            " of its own"
        ) from error


def _watch_memory(device: str) -> None:
    import torch  # noqa: PLC0415 - is there already, where a model runs on CUDA

    kinds: dict[str, Callable[[], int]] = {
        "allocated": lambda: torch.cuda.memory_allocated(device),
        "reserved": lambda: torch.cuda.memory_reserved(device),
        "free": lambda: torch.cuda.mem_get_info(device)[0],
        "total": lambda: torch.cuda.mem_get_info(device)[1],
    }
    for kind, read in kinds.items():
        GPU_MEMORY.labels(kind).set_function(lambda read=read: _or_nan(read))  # type: ignore[misc]


def _or_nan(read: Callable[[], int]) -> float:
    try:
        return read()
    except RuntimeError:  # a lost device; the other metrics are still served
        return math.nan
