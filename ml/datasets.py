"""Labelled pictures for training: folders of class folders, read once, kept decoded, split without leaks."""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import BadDataset, PictureError
from core.pictures import opened, upright_rgb
from core.settings import Settings
from core.types import Pixels

Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that could not be read, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """N pictures of C classes. pixels[i]: (height, width, 3) uint8; labels, folders: (N,) integers.

    Classes of different folders are different classes, even under one name.
    """

    paths: list[Path]
    pixels: list[Pixels]
    sha256: list[str]
    labels: Indices
    folders: Indices
    classes: list[str]
    folder_names: list[str]
    skipped: list[Skipped]

    def folder_of_class(self) -> Indices:
        """(C,): the folder that each class came from."""
        first = np.unique(self.labels, return_index=True)[1]
        return self.folders[first]


def load(folders: Sequence[Path], limits: Settings, side: int = 256) -> Dataset:
    """Read every class folder of every folder. Files that are no readable picture are skipped and listed.

    side: pictures whose shorter side is longer are stored shrunk to it; enough for crops of `side` and below.
    Raises BadDataset for a folder with fewer than two classes, or a class with fewer than two pictures.
    """
    files = [(path, name, index) for index, folder in enumerate(folders) for path, name in _class_files(folder)]
    with ThreadPoolExecutor() as pool:
        read = list(pool.map(lambda file: _read(file[0], limits, side), files))
    good = [(file, found) for file, found in zip(files, read, strict=True) if not isinstance(found, Skipped)]
    skipped = [found for found in read if isinstance(found, Skipped)]
    keys = sorted({(index, name) for (_, name, index), _ in good})
    number = {key: label for label, key in enumerate(keys)}
    labels = np.array([number[index, name] for (_, name, index), _ in good], dtype=np.intp)
    _check(folders, files, [index for index, _ in keys], labels, [name for _, name in keys])
    return Dataset(
        paths=[file[0] for file, _ in good],
        pixels=[found[0] for _, found in good],
        sha256=[found[1] for _, found in good],
        labels=labels,
        folders=np.array([file[2] for file, _ in good], dtype=np.intp),
        classes=[name for _, name in keys],
        folder_names=[folder.name for folder in folders],
        skipped=skipped,
    )


def _class_files(folder: Path) -> Iterable[tuple[Path, str]]:
    if not folder.is_dir():
        raise BadDataset(f"{folder} is not a folder.")
    for kind in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        yield from ((path, kind.name) for path in sorted(kind.rglob("*")) if path.is_file() and path.name[0] != ".")


def _read(path: Path, limits: Settings, side: int) -> tuple[Pixels, str] | Skipped:
    try:
        data = path.read_bytes()
        with opened(data, limits) as picture:
            picture.draft("RGB", (2 * side, 2 * side))
            upright = upright_rgb(picture)
            shrink = side / min(upright.size)
            if shrink < 1:
                small = (round(upright.width * shrink), round(upright.height * shrink))
                upright = upright.resize(small, Image.Resampling.BICUBIC)
            return np.array(upright), hashlib.sha256(data).hexdigest()
    except (PictureError, OSError) as error:
        return Skipped(path, str(error))


def _check(folders: Sequence[Path], files: list, of_class: list[int], labels: Indices, classes: list[str]) -> None:
    for index, folder in enumerate(folders):
        found = of_class.count(index)
        if found < 2:
            looked = sum(1 for file in files if file[2] == index)
            raise BadDataset(
                f"{folder} has {found} class(es) with readable pictures ({looked} files seen); at least two are "
                "needed, each a folder of pictures."
            )
    lonely = [name for name, count in zip(classes, np.bincount(labels), strict=True) if count < 2]
    if lonely:
        raise BadDataset(f"Each class needs at least two readable pictures; only one in: {', '.join(lonely)}.")


def split(dataset: Dataset, among: Indices, share: float, seed: int) -> tuple[Indices, Indices]:
    """Divide the pictures `among` into (rest, taken), `share` of each class taken; by seed, sorted.

    Pictures of equal bytes go to one side, also across classes. Each class keeps at least one picture in the rest.
    """
    rng = np.random.default_rng(seed)
    side: dict[str, bool] = {}
    for label in np.unique(dataset.labels[among]):
        members = rng.permutation(among[dataset.labels[among] == label])
        hashes = list(dict.fromkeys(dataset.sha256[index] for index in members))
        wanted = min(round(share * len(hashes)), len(hashes) - 1)
        wanted -= sum(side.get(key, False) for key in hashes)
        for key in hashes:
            side.setdefault(key, wanted > 0)
            wanted -= 1
    taken = np.array([side[dataset.sha256[index]] for index in among], dtype=bool)
    return np.sort(among[~taken]), np.sort(among[taken])


def hold_out(dataset: Dataset, count: int, seed: int) -> tuple[Indices, Indices]:
    """Set whole classes aside: (pictures of the others, pictures of `count` classes of the richest folder).

    None are set aside when that folder has fewer than four times as many classes.
    """
    everything = np.arange(len(dataset.labels))
    of_class = dataset.folder_of_class()
    richest = np.flatnonzero(of_class == np.bincount(of_class).argmax())
    if not count or len(richest) < 4 * count:
        return everything, everything[:0]
    chosen = np.random.default_rng(seed).choice(richest, count, replace=False)
    aside = np.isin(dataset.labels, chosen)
    return everything[~aside], everything[aside]


def draw_epoch(labels: Indices, balance: float, rng: np.random.Generator) -> Indices:
    """One epoch's pictures, as many as there are, drawn with replacement: (N,) positions in `labels`.

    balance: a class of n pictures gets a share in proportion to n**balance.
    """
    sizes = np.bincount(labels)
    weight = sizes[labels].astype(float) ** (balance - 1)
    return rng.choice(len(labels), len(labels), p=weight / weight.sum())
