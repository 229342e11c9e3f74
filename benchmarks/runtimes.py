"""How fast is the shipped model in each setup that this CPU has, and is the one that workers choose the fastest?

Run `python -m benchmarks.runtimes`. First a worker's choice: each setup is timed for a second, in a process of its own,
as when a machine first loads the model. Then the check: by turns and for longer, the forward alone of each setup on
decoded pictures, as a worker runs it, by the clock. at_choice: the figure that it was chosen by, of cores that do
nothing else where lanes have one thread each; one_ms: of a single picture, as a search by picture waits for it; parity:
least cosine to torch in float32 over the pictures that are tried at each start, of which workers refuse less than
0.999. of_the_fastest: pictures a second of the chosen setup over those of the fastest by the check, block by block.
"""

import statistics
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.common import embed_all, interleaved, own_home, spread, write
from garden import draw_specimen
from umbel.base.types import Embedder

IMAGES = 64
ALONE = 8  # of them one after the other


def main() -> None:
    with own_home():
        write("runtimes", _answer())


def _answer() -> dict[str, object]:
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
    taken = interleaved(**{each: partial(embed_all, embedder, pixels) for each, embedder in embedders.items()})
    alone = interleaved(**{each: _each_of(embedder, pixels[:ALONE]) for each, embedder in embedders.items()})
    chosen = next(iter(timed))
    fastest = min(taken, key=lambda each: statistics.median(taken[each]))
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
                "at_choice": one.per_second,
                "per_second": spread([IMAGES / seconds for seconds in taken[each]]),
                "over_chosen": spread([a / b for a, b in zip(taken[chosen], taken[each], strict=True)]),
                "one_ms": spread([1000 * seconds / ALONE for seconds in alone[each]]),
                "parity": round(one.parity, 5),
            }
            for each, one in timed.items()
        },
    }


def _each_of(embedder: Embedder, pixels: list[np.ndarray]) -> Callable[[], object]:
    def embed() -> None:
        for each in pixels:
            embedder.embed([each])

    return embed


if __name__ == "__main__":
    main()
