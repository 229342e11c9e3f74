"""How fast is the shipped model in each setup that this CPU has, and is the one that workers choose the fastest?

Run `python -m benchmarks.runtimes`. First a worker's choice: each setup is timed for a second, in a process of its own,
as when a machine first loads the model. Then the check: by turns and for longer, the forward alone of each setup on
decoded pictures, as a worker runs it, by the clock. at_choice: the figure that it was chosen by, of cores that do
nothing else where lanes have one thread each; one_ms: of a single picture, as a search by picture waits for it; parity:
least cosine to torch in float32 over the pictures that are tried at each start, of which workers refuse less than
0.999. of_the_fastest: pictures a second of the chosen setup over those of the fastest by the check, block by block.
With --int8 FILE, a checkpoint of `umbel models quantize` takes turns with the others, in the setup that a worker would
choose for it; it is another model, and its parity is to its own vectors.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.common import embed_all, interleaved, own_home, spread, write
from garden import draw_specimen
from umbel.base.types import Embedder

if TYPE_CHECKING:
    from ml.embedder import NetworkEmbedder

IMAGES = 64
ALONE = 8  # of them one after the other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--int8", type=Path, metavar="FILE", help="a checkpoint in int8, to be timed with the others")
    int8 = parser.parse_args().int8
    with own_home():
        write("runtimes", _answer(int8))


def _answer(int8: Path | None) -> dict[str, object]:
    from ml.card import read_card  # noqa: PLC0415 - settings are read at the first use, so the home comes first
    from ml.runtime import load_embedder, task_of  # noqa: PLC0415
    from ml.runtimes.choice import list_measurements  # noqa: PLC0415
    from ml.runtimes.conversion import converted  # noqa: PLC0415
    from ml.runtimes.measuring import LoadedTask  # noqa: PLC0415
    from ml.runtimes.setups import Setup  # noqa: PLC0415
    from ml.shipped import find_checkpoint  # noqa: PLC0415
    from umbel.base.settings import Settings  # noqa: PLC0415

    settings = Settings(device="cpu")
    load_embedder(settings)
    [choice] = list_measurements(settings.home)

    def name(setup: Setup) -> str:
        return f"{setup.runtime} {setup.precision}, {setup.lanes} of {setup.threads // setup.lanes}"

    checkpoint = find_checkpoint(settings)
    card = read_card(checkpoint)
    conversion = converted(checkpoint, card, settings.home / "models")
    loaded = LoadedTask(task_of(checkpoint, conversion, [one.setup for one in choice.timings], settings))
    timed = {name(one.setup): one for one in choice.timings if one.per_second}
    embedders = {each: loaded.embedder(loaded.forward(one.setup)) for each, one in timed.items()}
    size = card.preprocessing.size
    pixels = [np.asarray(draw_specimen(number % 16, number, 0, size=size), np.uint8) for number in range(IMAGES)]
    chosen = next(iter(timed))
    beside = {} if int8 is None else _in_int8(int8)
    all_of_them = embedders | beside
    taken = interleaved(**{each: partial(embed_all, embedder, pixels) for each, embedder in all_of_them.items()})
    alone = interleaved(**{each: _each_of(embedder, pixels[:ALONE]) for each, embedder in all_of_them.items()})
    fastest = min(embedders, key=lambda each: statistics.median(taken[each]))
    return {
        "model": card.name,
        "size": size,
        "threads": choice.timings[0].setup.threads,
        "chosen": chosen,
        "fastest_by_the_check": fastest,
        "of_the_fastest": spread([a / b for a, b in zip(taken[fastest], taken[chosen], strict=True)]),
        "calm_at_choice": choice.calm,
        "setups": {
            each: {
                "at_choice": timed[each].per_second if each in timed else None,
                "per_second": spread([IMAGES / seconds for seconds in taken[each]]),
                "over_chosen": spread([a / b for a, b in zip(taken[chosen], taken[each], strict=True)]),
                "one_ms": spread([1000 * seconds / ALONE for seconds in alone[each]]),
                "parity": round(timed[each].parity if each in timed else all_of_them[each].parity, 5),
            }
            for each in all_of_them
        },
    }


def _in_int8(checkpoint: Path) -> dict[str, "NetworkEmbedder"]:
    """A model in int8 in the setup that a worker would choose for it."""
    from ml.runtime import embedder_of  # noqa: PLC0415 - as in _answer
    from umbel.base.settings import Settings  # noqa: PLC0415

    embedder = embedder_of(checkpoint, Settings(device="cpu"))
    return {f"openvino int8, {embedder.lanes} side by side": embedder}


def _each_of(embedder: Embedder, pixels: list[np.ndarray]) -> Callable[[], object]:
    def embed() -> None:
        for each in pixels:
            embedder.embed([each])

    return embed


if __name__ == "__main__":
    main()
