"""Do outliers find foreign pictures, and are labels better spent on the suggested images than on random ones?

Run `python -m benchmarks.curation --photos FOLDER… --foreign FOLDER…`: of each folder of class folders, embedded with
the shipped model, an exact graph of nearest neighbors, which the functions of umbel/insights then read as they read the
stored one. Without services; nothing is timed.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from uuid import UUID

import numpy as np

from benchmarks.common import write
from ml.data.dataset import class_files
from ml.runtime import load_embedder
from umbel.base.settings import Settings
from umbel.base.types import Embedder, Vectors
from umbel.insights.comparison import NEIGHBORS
from umbel.insights.coverage import choose, similarities_of
from umbel.insights.neighbor_graph import NeighborGraph, codes_of
from umbel.insights.representatives import likely_labels, worth_labelling
from umbel.search.vote import TEMPERATURE, K

PLANTED = 20  # foreign pictures in each folder
RANKS = (1, 5, NEIGHBORS)  # neighbors whose distance may say how foreign a picture is
STEP, BUDGETS = 10, (10, 20, 50, 100, 200)  # labels given at a time, and in all
HELD_OUT = 0.3  # of the pictures: never labelled, judged by
SEEDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--foreign", type=Path, nargs="+", required=True, help="Pictures of other things.")
    parser.add_argument("--vectors", type=Path, help="Keep the vectors in this folder, and take them from there.")
    arguments = parser.parse_args()
    embedder = load_embedder(Settings(log_level="WARNING"))
    sets = {folder.name: embedded(embedder, folder, arguments.vectors) for folder in arguments.photos}
    foreign = {folder.name: embedded(embedder, folder, arguments.vectors) for folder in arguments.foreign}
    write(
        "curation",
        {
            "model": embedder.card.name,
            "seeds": SEEDS,
            "outliers": {
                "planted": PLANTED,
                "of_the_first_that_many_planted": {
                    name: {other: measure_outliers(vectors, *of) for other, of in foreign.items()}
                    for name, (vectors, _) in sets.items()
                },
            },
            "labels": {
                name: {"images": len(vectors), "labels": len(set(labels)), "accuracy": measure_labels(vectors, labels)}
                for name, (vectors, labels) in sets.items()
            },
        },
    )


def measure_outliers(vectors: Vectors, foreign: Vectors, kinds: list[str]) -> dict[str, dict[str, float]]:
    """Of as many images at the head of the list as are planted, the share that is planted: by which neighbor counts.

    mixed: the planted ones are any foreign pictures; alike: all of as few kinds as have so many.
    """
    found: dict[str, dict[str, float]] = {}
    for way in ("mixed", "alike"):
        shares: dict[int, list[float]] = {rank: [] for rank in RANKS}
        for seed in range(SEEDS):
            generator = np.random.default_rng(seed)
            planted = foreign[drawn(generator, kinds, alike=way == "alike")]
            distances = near(np.concatenate([vectors, planted]))[1]
            for rank in RANKS:
                first = np.argsort(-distances[:, rank - 1], kind="stable")[:PLANTED]
                shares[rank].append(float((first >= len(vectors)).mean()))
        found[way] = {f"neighbor {rank}": round(fmean(shares[rank]), 3) for rank in RANKS}
    return found


def drawn(generator: np.random.Generator, kinds: list[str], *, alike: bool) -> np.ndarray:
    """Positions of PLANTED foreign pictures."""
    order = generator.permutation(len(kinds))
    if alike:
        turn = {kind: place for place, kind in enumerate(generator.permutation(sorted(set(kinds))))}
        order = np.array(sorted(order, key=lambda at: turn[kinds[at]]))
    return order[:PLANTED]


def measure_labels(vectors: Vectors, labels: list[str]) -> dict[str, dict[str, float]]:
    """Share of the held-out images that the vote of the labelled ones names rightly, by way of choosing and budget."""
    ways: dict[str, Callable[[NeighborGraph, np.random.Generator], list[int]]] = {
        "label next": lambda graph, _: suggested(graph),
        "coverage alone": lambda graph, _: covering(graph),
        "random": lambda graph, generator: generator.permutation(unlabelled(graph))[:STEP].tolist(),
    }
    found: dict[str, dict[str, list[float]]] = {way: {} for way in [*ways, "k-center"]}
    truth = np.array(labels)
    for seed in range(SEEDS):
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(vectors))
        held, pool = np.split(order, [round(HELD_OUT * len(order))])
        neighbors, distances = near(vectors[pool])
        chosen: dict[str, list[int]] = {"k-center": farthest_first(vectors[pool], max(BUDGETS), generator)}
        for way, pick in ways.items():
            given: list[str | None] = [None] * len(pool)
            chosen[way] = []
            while len(chosen[way]) < min(max(BUDGETS), len(pool)):
                graph = NeighborGraph([UUID(int=at) for at in range(len(pool))], given, neighbors, distances)
                some = pick(graph, generator)
                if not some:
                    break
                chosen[way] += some
                for at in some:
                    given[at] = labels[pool[at]]
        for way, images in chosen.items():
            for budget in BUDGETS:
                known = pool[images[:budget]]
                right = voted(vectors[held], vectors[known], truth[known]) == truth[held]
                found[way].setdefault(str(budget), []).append(float(right.mean()))
    return {way: {budget: round(fmean(each), 3) for budget, each in by.items()} for way, by in found.items()}


def suggested(graph: NeighborGraph) -> list[int]:
    """As /v1/label-next suggests them."""
    _, labels = codes_of(graph.labels)
    _, confidence = likely_labels(labels, graph.neighbors, graph.distances)
    return worth_labelling(graph, STEP, labels=labels, confidence=confidence).images


def covering(graph: NeighborGraph) -> list[int]:
    """As `worth_labelling`, were every image without a label equally worth one."""
    _, known = codes_of(graph.labels)
    similar = similarities_of(graph.neighbors, graph.distances)
    covered = np.maximum.reduceat(np.where(known[similar.others] < 0, 0, similar.values), similar.starts[:-1])
    free = known < 0
    return choose(similar, STEP, weights=free.astype(np.float32), covered=covered, candidates=free).images


def farthest_first(vectors: Vectors, count: int, generator: np.random.Generator) -> list[int]:
    """k-center: each time the image that is farthest from those chosen, the first by chance."""
    chosen = [int(generator.integers(len(vectors)))]
    apart = 1 - vectors @ vectors[chosen[0]]
    while len(chosen) < min(count, len(vectors)):
        chosen.append(int(apart.argmax()))
        apart = np.minimum(apart, 1 - vectors @ vectors[chosen[-1]])
    return chosen


def unlabelled(graph: NeighborGraph) -> np.ndarray:
    return np.array([at for at, label in enumerate(graph.labels) if label is None])


def voted(queries: Vectors, known: Vectors, labels: np.ndarray) -> np.ndarray:
    """The label that the nearest of `known` give each query, as in umbel.search.vote."""
    distances = 1 - queries @ known.T
    nearest = np.argsort(distances, 1)[:, :K]
    apart = np.take_along_axis(distances, nearest, 1)
    votes = np.exp((apart[:, :1] - apart) / TEMPERATURE)
    same = labels[nearest][:, :, None] == labels[nearest][:, None, :]
    best = (same * votes[:, None, :]).sum(2).argmax(1)
    return np.asarray(labels[nearest[np.arange(len(queries)), best]])


def near(vectors: Vectors) -> tuple[np.ndarray, np.ndarray]:
    """The nearest others of each: (n, NEIGHBORS) positions and cosine distances."""
    distances = 1 - vectors @ vectors.T
    np.fill_diagonal(distances, np.inf)
    neighbors = np.argsort(distances, 1)[:, :NEIGHBORS]
    return neighbors, np.take_along_axis(distances, neighbors, 1).astype(np.float32)


def embedded(embedder: Embedder, folder: Path, kept: Path | None) -> tuple[Vectors, list[str]]:
    """The vectors of the images in a folder of class folders, and their classes."""
    files = class_files(folder).files
    file = kept and kept / f"{folder.name}.npy"
    if file and file.is_file():
        vectors = np.load(file)
    else:
        step = embedder.batch_size
        parts = [files[at : at + step] for at in range(0, len(files), step)]
        vectors = np.concatenate(
            [embedder.embed([embedder.decode(path.read_bytes()) for path, _ in part]) for part in parts]
        )
        if file:
            np.save(file, vectors)
    return vectors, [label for _, label in files]


if __name__ == "__main__":
    main()
