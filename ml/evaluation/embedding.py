"""Files → embeddings by one or more models, just as a worker makes them; each file is read once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ml.data.dataset import Skipped
from ml.embedder import NetworkEmbedder
from ml.threads import decoding_processes
from umbel.base.errors import ImageError
from umbel.base.pipeline import ahead
from umbel.base.settings import Settings
from umbel.base.types import Pixels, Vectors

Decoded = list[Pixels] | Skipped  # one picture, decoded for each model


def embed_files(
    paths: Sequence[Path],
    models: Sequence[NetworkEmbedder],
    settings: Settings,
    done: Callable[[int], None] = lambda files: None,
) -> tuple[list[Vectors], list[Skipped]]:
    """The embeddings of the readable files, (n, dim) float32 for each model, in order; and the others with the reason.

    While one batch is in the models the next is being decoded. done: told how many files each batch brought.
    """
    batch = min(model.batch_size for model in models)
    vectors: list[list[Vectors]] = [[] for _ in models]
    skipped: list[Skipped] = []
    with ThreadPoolExecutor(decoding_processes(settings)) as pool:
        for decoded in ahead(_batches(paths, models, batch, pool)):
            pictures = [one for one in decoded if not isinstance(one, Skipped)]
            skipped += [one for one in decoded if isinstance(one, Skipped)]
            for number, model in enumerate(models):
                vectors[number].append(model.embed([picture[number] for picture in pictures]))
            done(len(decoded))
    empty = [np.empty((0, model.dim), np.float32) for model in models]
    return [np.concatenate([none, *parts]) for none, parts in zip(empty, vectors, strict=True)], skipped


def _batches(
    paths: Sequence[Path], models: Sequence[NetworkEmbedder], batch: int, pool: ThreadPoolExecutor
) -> Iterator[list[Decoded]]:
    for start in range(0, len(paths), batch):
        yield list(pool.map(lambda path: _decode(path, models), paths[start : start + batch]))


def _decode(path: Path, models: Sequence[NetworkEmbedder]) -> Decoded:
    """The picture as each model wants it; models of equal preprocessing share it."""
    found: dict[str, Pixels] = {}
    try:
        data = path.read_bytes()
        for model in models:
            if model.card.preprocessing_hash not in found:
                found[model.card.preprocessing_hash] = model.decode(data)
    except (ImageError, OSError) as error:
        return Skipped(path, str(error))
    return [found[model.card.preprocessing_hash] for model in models]
