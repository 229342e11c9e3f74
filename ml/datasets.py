"""Labelled pictures for training: folders of class folders, read once, kept decoded, split without leaks."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.pixel_store import PixelStore
from umbel.base.errors import BadDataset, ImageError
from umbel.base.image_rules import opened, upright_rgb
from umbel.base.settings import Settings
from umbel.base.types import Pixels

Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that could not be read, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """N pictures of C classes. pixels[i]: (height, width, 3) uint8; labels, folders, groups: (N,) integers.

    Classes of different folders are different classes, even under one name. Pictures of one group show one and the
    same thing and must not be parted by a split; unless said otherwise (see `grouped`), files of equal bytes.
    """

    paths: list[Path]
    pixels: Sequence[Pixels]
    sha256: list[str]
    labels: Indices
    folders: Indices
    classes: list[str]
    folder_names: list[str]
    skipped: list[Skipped]
    roots: list[Path] = field(default_factory=list)  # where each folder lies
    groups: Indices = field(default_factory=lambda: np.empty(0, np.intp))

    def __post_init__(self) -> None:
        if not len(self.groups):
            object.__setattr__(self, "groups", groups_of_equal(self.sha256))

    def relative_path(self, index: int) -> str:
        """Where a picture lies below its folder, with forward slashes: "rose/1.jpg"."""
        return self.paths[index].relative_to(self.roots[self.folders[index]]).as_posix()

    def folder_of_class(self) -> Indices:
        """(C,): the folder that each class came from."""
        first = np.unique(self.labels, return_index=True)[1]
        return self.folders[first]


def load(
    folders: Sequence[Path],
    limits: Settings,
    side: int = 256,
    reading: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Read every class folder of every folder. Files that are no readable picture are skipped and listed.

    side: pictures whose shorter side is longer are stored shrunk to it; enough for crops of `side` and below.
    reading: told how many files are done, of how many.
    Raises BadDataset for a folder with fewer than two classes, or a class with fewer than two pictures.
    """
    files = [(path, name, index) for index, folder in enumerate(folders) for path, name in class_files(folder)]
    store, read = PixelStore(len(files)), list[str | Skipped]()
    with ThreadPoolExecutor() as pool:
        for found in pool.map(lambda number: _read(files[number][0], limits, side, store, number), range(len(files))):
            read.append(found)
            reading(len(read), len(files))
    good = [number for number, found in enumerate(read) if not isinstance(found, Skipped)]
    skipped = [found for found in read if isinstance(found, Skipped)]
    keys = sorted({(files[number][2], files[number][1]) for number in good})
    label_of = {key: label for label, key in enumerate(keys)}
    labels = np.array([label_of[files[number][2], files[number][1]] for number in good], dtype=np.intp)
    _check(folders, files, [index for index, _ in keys], labels, [name for _, name in keys])
    return Dataset(
        paths=[files[number][0] for number in good],
        pixels=store.only(good),
        sha256=[str(read[number]) for number in good],
        labels=labels,
        folders=np.array([files[number][2] for number in good], dtype=np.intp),
        classes=[name for _, name in keys],
        folder_names=[folder.name for folder in folders],
        skipped=skipped,
        roots=list(folders),
    )


def class_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Each file of each class folder with the class's name, in order; hidden ones left out. Raises BadDataset."""
    if not folder.is_dir():
        raise BadDataset(f"{folder} is not a folder.")
    for kind in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        yield from ((path, kind.name) for path in sorted(kind.rglob("*")) if path.is_file() and path.name[0] != ".")


def _read(path: Path, limits: Settings, side: int, store: PixelStore, number: int) -> str | Skipped:
    """Keep the picture in the store, and return the SHA-256 of its file."""
    try:
        data = path.read_bytes()
        with opened(data, limits) as picture:
            picture.draft("RGB", (2 * side, 2 * side))
            upright = upright_rgb(picture)
            shrink = side / min(upright.size)
            if shrink < 1:
                small = (round(upright.width * shrink), round(upright.height * shrink))
                upright = upright.resize(small, Image.Resampling.BICUBIC)
            store.keep(number, np.array(upright))
            return hashlib.sha256(data).hexdigest()
    except (ImageError, OSError) as error:
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


def groups_of_equal(keys: Sequence[str]) -> Indices:
    """(N,): the number of each picture's group, pictures of equal keys in one; counted from 0 as they first appear."""
    number: dict[str, int] = {}
    return np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.intp)


def grouped(dataset: Dataset, groups: Indices) -> Dataset:
    """The dataset with these groups (N,), such as those of a leakage check.

    Raises ValueError where there is not one a picture, or where they would part files of equal bytes.
    """
    if len(groups) != len(dataset.labels):
        raise ValueError(f"{len(groups)} groups were given for {len(dataset.labels)} pictures.")
    pairs = np.unique(np.stack([groups_of_equal(dataset.sha256), groups]), axis=1)
    if len(np.unique(pairs[0])) != pairs.shape[1]:
        raise ValueError("The groups part pictures of equal bytes.")
    return replace(dataset, groups=groups)


def split(dataset: Dataset, among: Indices, share: float, seed: int) -> tuple[Indices, Indices]:
    """Divide the pictures `among` into (rest, taken), `share` of each class's groups taken; by seed, sorted.

    Each group goes to one side, also across classes. Each class keeps at least one picture in the rest.
    """
    rng = np.random.default_rng(seed)
    labels, groups = dataset.labels[among], dataset.groups[among]
    side: dict[int, bool] = {}
    for label in np.unique(labels):
        own = list(dict.fromkeys(rng.permutation(groups[labels == label]).tolist()))
        wanted = min(round(share * len(own)), len(own) - 1)
        wanted -= sum(side.get(group, False) for group in own)
        for group in own:
            side.setdefault(group, wanted > 0)
            wanted -= 1
    _keep_some_of_each(side, labels, groups)
    taken = np.array([side[group] for group in groups.tolist()], dtype=bool)
    return np.sort(among[~taken]), np.sort(among[taken])


def _keep_some_of_each(side: dict[int, bool], labels: Indices, groups: Indices) -> None:
    """Hand a group back to every class that others, sharing its groups, have left without any."""
    for label in np.unique(labels):
        own = groups[labels == label].tolist()
        if all(side[group] for group in own):
            side[own[0]] = False


def folds(dataset: Dataset, among: Indices, count: int, seed: int) -> list[Indices]:
    """Divide the pictures `among` into `count` parts that differ as little as may be, class by class; by seed, sorted.

    Each group lies in one part. Without groups of several pictures, no two parts differ by more than one picture, of
    a class or in all. A class of fewer groups than parts is missing from some of them. Raises ValueError for fewer
    than 2.
    """
    if count < 2:
        raise ValueError(f"At least 2 folds are needed, not {count}.")
    labels = np.unique(dataset.labels[among], return_inverse=True)[1]
    groups = np.unique(dataset.groups[among], return_inverse=True)[1]
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1]) if len(among) else []
    rng = np.random.default_rng(seed)
    shuffled = [members[index] for index in rng.permutation(len(members))]
    held = np.zeros((count, int(labels.max(initial=-1)) + 1), dtype=np.intp)  # pictures of each class in each fold
    fold_of = np.empty(len(among), dtype=np.intp)
    # Large groups first, so that small ones can even out; of equal size class by class, so that sums stay even too.
    for group in sorted(shuffled, key=lambda group: (-len(group), labels[group[0]])):
        classes, pictures = np.unique(labels[group], return_counts=True)
        # Fewest of the group's own classes, then fewest pictures at all; equals by chance.
        order = np.lexsort((rng.random(count), held.sum(1), held[:, classes] @ pictures))
        held[order[0], classes] += pictures
        fold_of[group] = order[0]
    return [np.sort(among[fold_of == fold]) for fold in range(count)]


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
