"""How fast is the shipped model on each runtime and arithmetic that this CPU has, and does it stay the same model?

Run `python -m benchmarks.runtimes`: the forward alone on decoded pictures, by turns on torch and on OpenVINO, each as a
worker would run it, with as many threads. one_ms: of a single picture, as a search by picture waits for it. parity:
least cosine to torch in float32 over the pictures that are tried at each start; workers refuse less than 0.999.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.common import embed_all, interleaved, spread, write
from garden import draw_specimen
from ml.devices import has_native_bf16, pick_device
from ml.embedder import NetworkEmbedder
from ml.runtime import load_embedder
from ml.runtimes.openvino_forward import native_precisions
from umbel.base.machine import cores
from umbel.base.settings import Settings

IMAGES = 64
ALONE = 8  # of them one after the other


def main() -> None:
    embedders = {f"{one.runtime} {one.precision}": one for one in map(load_embedder, _wanted())}
    first = next(iter(embedders.values()))
    size = first.card.preprocessing.size
    pixels = [np.asarray(draw_specimen(number % 16, number, 0, size=size), np.uint8) for number in range(IMAGES)]
    taken = interleaved(**{name: partial(embed_all, embedder, pixels) for name, embedder in embedders.items()})
    alone = interleaved(**{name: _each_of(embedder, pixels[:ALONE]) for name, embedder in embedders.items()})
    slowest = taken["torch fp32"]
    write(
        "runtimes",
        {
            "model": first.card.name,
            "size": size,
            "threads": cores(),
            "runtimes": {
                name: {
                    "per_second": spread([IMAGES / each for each in taken[name]]),
                    "over_torch_fp32": spread([a / b for a, b in zip(slowest, taken[name], strict=True)]),
                    "one_ms": spread([1000 * each / ALONE for each in alone[name]]),
                    "parity": round(embedder.parity, 5),
                }
                for name, embedder in embedders.items()
            },
        },
    )


def _wanted() -> list[Settings]:
    """Of each runtime with each arithmetic that the CPU has natively."""
    torch = ["fp32", "bf16"] if has_native_bf16(pick_device("cpu")) else ["fp32"]
    ways = [("torch", precision) for precision in torch]
    ways += [("openvino", precision) for precision in sorted(native_precisions("auto"), reverse=True)]
    return [
        Settings.model_validate({"runtime": runtime, "precision": precision, "device": "cpu", "log_level": "WARNING"})
        for runtime, precision in ways
    ]


def _each_of(embedder: NetworkEmbedder, pixels: list[np.ndarray]) -> Callable[[], object]:
    def embed() -> None:
        for each in pixels:
            embedder.embed([each])

    return embed


if __name__ == "__main__":
    main()
