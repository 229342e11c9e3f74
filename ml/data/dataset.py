"""Labelled pictures for training: folders of class folders and lists, read once, and kept decoded if there is room."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from umbel_files.names import printable
from umbel_files.walking import NO_PICTURE, Outcome, walk

from ml.data.image_files import ImageFiles, shrunk
from ml.data.label_list import read_labels
from ml.data.pixel_store import PixelStore, has_room
from ml.preprocess import Preprocessing
from umbel.base.errors import BadDataset, ImageError
from umbel.base.settings import Settings
from umbel.base.types import Pixels

Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that could not be read, and why."""

    path: Path
    reason: str


class ClassFiles(NamedTuple):
    """The pictures of class folders, each with the name of its class, in order; and what else lies there.

    roles: of the pictures whose part of the split a list has fixed.
    """

    files: list[tuple[Path, str]]
    skipped: list[Skipped]
    roles: dict[Path, str] = {}  # noqa: RUF012 - of a NamedTuple, and never changed


@dataclass(frozen=True, slots=True)
class Dataset:
    """N pictures of C classes. pixels[i]: (height, width, 3) uint8; labels, folders, groups: (N,) integers.

    served[i]: (size, size, 3) uint8, the very pixels that the service would feed a model of this `preprocessing` with.

    Classes of different folders are different classes, even under one name. Pictures of one group show one and the
    same thing and must not be parted by a split; unless said otherwise (see `grouped`), files of equal bytes.
    """

    paths: list[Path]
    pixels: Sequence[Pixels] | PixelStore | ImageFiles
    sha256: list[str]
    labels: Indices
    folders: Indices
    classes: list[str]
    folder_names: list[str]
    skipped: list[Skipped]
    roots: list[Path] = field(default_factory=list)  # where each folder lies
    groups: Indices = field(default_factory=lambda: np.empty(0, np.intp))
    served: Sequence[Pixels] | PixelStore | ImageFiles = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    roles: list[str | None] = field(default_factory=list)  # of each picture if lists fix the split; else empty
    aside: frozenset[int] = frozenset()  # folders that are only judged on

    def __post_init__(self) -> None:
        if not len(self.groups):
            object.__setattr__(self, "groups", groups_of_equal(self.sha256))

    def relative_path(self, index: int) -> str:
        """Where a picture lies below its folder, with forward slashes: "rose/1.jpg"."""
        return Path(os.path.relpath(self.paths[index], self.roots[self.folders[index]])).as_posix()

    @property
    def is_aside(self) -> NDArray[np.bool_]:
        """(N,): which pictures lie in a folder that is only judged on."""
        return np.isin(self.folders, list(self.aside))

    def folder_of_class(self) -> Indices:
        """(C,): the folder that each class came from."""
        first = np.unique(self.labels, return_index=True)[1]
        return self.folders[first]


def load_dataset(
    folders: Sequence[Path],
    limits: Settings,
    side: int = 256,
    reading: Callable[[int, int], None] = lambda done, total: None,
    *,
    aside: Sequence[Path] = (),
    preprocessing: Preprocessing | None = None,
    include_hidden: bool = False,
    keep: bool | None = None,
) -> Dataset:
    """Read every class folder of every folder, and every list (see ml.data.label_list) that is among them.

    Files that are no readable picture are skipped and listed; so is the only picture of a class, which teaches nothing.
    side: pictures whose shorter side is longer are shrunk to it; enough for crops of `side` and below.
    reading: told how many files are done, of how many. aside: more folders, that are only judged on. preprocessing:
    what `served` is made by.
    include_hidden: see `umbel_files.walking.walk`.
    keep: hold the decoded pictures, or decode them whenever they are asked for; None: hold them if there is room.
    Raises BadDataset for a folder with fewer than two classes of two pictures.
    """
    only_judged = frozenset(range(len(folders), len(folders) + len(aside)))
    folders = [*folders, *aside]
    listed = [
        listed_files(folder) if folder.is_file() else class_files(folder, include_hidden=include_hidden)
        for folder in folders
    ]
    files = [(path, name, index) for index, one in enumerate(listed) for path, name in one.files]
    preprocessing = preprocessing or Preprocessing()
    keep = has_room(len(files), side, preprocessing.size) if keep is None else keep
    store, served, read = PixelStore(len(files)), PixelStore(len(files)), list[str | Skipped]()
    take = partial(_read, limits=limits, side=side, preprocessing=preprocessing, stores=(store, served), keep=keep)
    with ThreadPoolExecutor() as pool:
        for found in pool.map(lambda number: take(files[number][0], number=number), range(len(files))):
            read.append(found)
            reading(len(read), len(files))
    _skip_lone_images(files, read)
    good = [number for number, found in enumerate(read) if not isinstance(found, Skipped)]
    skipped = [found for found in (*chain(*(one.skipped for one in listed)), *read) if isinstance(found, Skipped)]
    keys = sorted({(files[number][2], files[number][1]) for number in good})
    label_of = {key: label for label, key in enumerate(keys)}
    labels = np.array([label_of[files[number][2], files[number][1]] for number in good], dtype=np.intp)
    _check(folders, files, [index for index, _ in keys])
    paths = [files[number][0] for number in good]
    roles = {path: role for one in listed for path, role in one.roles.items()}
    return Dataset(
        paths=paths,
        pixels=store.only(good) if keep else ImageFiles(paths, limits, preprocessing, side),
        sha256=[str(read[number]) for number in good],
        labels=labels,
        folders=np.array([files[number][2] for number in good], dtype=np.intp),
        classes=[name for _, name in keys],
        folder_names=[folder.stem if folder.is_file() else folder.name for folder in folders],
        skipped=skipped,
        roots=[folder.parent if folder.is_file() else folder for folder in folders],
        served=served.only(good) if keep else ImageFiles(paths, limits, preprocessing),
        preprocessing=preprocessing,
        roles=[roles.get(path) for path in paths] if roles else [],
        aside=only_judged,
    )


def listed_files(file: Path) -> ClassFiles:
    """The pictures of a list of labels. Raises BadDataset."""
    lines = read_labels(file)
    return ClassFiles([(one.path, one.label) for one in lines], [], {one.path: one.role for one in lines if one.role})


def class_files(folder: Path, *, include_hidden: bool = False) -> ClassFiles:
    """The pictures of each class folder, by the rules by which a folder is imported. Raises BadDataset."""
    if not folder.is_dir():
        raise BadDataset(f"{folder} is not a folder.")
    files, skipped = list[tuple[Path, str]](), list[Skipped]()
    for found in walk(folder, include_hidden=include_hidden):
        kind, inside, _ = found.name.partition("/")
        if found.outcome is not Outcome.TAKEN and (inside or found.reason != NO_PICTURE):
            skipped.append(Skipped(found.path, found.reason))
        elif inside:
            files.append((found.path, printable(kind)))
    return ClassFiles(files, skipped)


def _read(
    path: Path,
    *,
    limits: Settings,
    side: int,
    preprocessing: Preprocessing,
    stores: tuple[PixelStore, PixelStore],
    keep: bool,
    number: int,
) -> str | Skipped:
    """Put the picture into both stores, if it is to be kept, and return the SHA-256 of its file."""
    try:
        data = path.read_bytes()
        # Decoded as the service does, once: a JPEG decoded at another scale gives other pixels.
        picture = preprocessing.opened(data, limits)
        if keep:
            stores[0].keep(number, shrunk(picture, side))
            stores[1].keep(number, preprocessing.fit(picture))
        return hashlib.sha256(data).hexdigest()
    except (ImageError, OSError) as error:
        return Skipped(path, str(error))


def _skip_lone_images(files: list[tuple[Path, str, int]], read: list[str | Skipped]) -> None:
    """Skip each image that is alone in its class."""
    of_class: dict[tuple[str, int], list[int]] = {}
    for number, (_, name, folder) in enumerate(files):
        if not isinstance(read[number], Skipped):
            of_class.setdefault((name, folder), []).append(number)
    for numbers in of_class.values():
        if len(numbers) == 1:
            read[numbers[0]] = Skipped(files[numbers[0]][0], "It is the only readable picture of its class.")


def _check(folders: Sequence[Path], files: list[tuple[Path, str, int]], of_class: list[int]) -> None:
    for index, folder in enumerate(folders):
        found = of_class.count(index)
        if found < 2:
            looked = sum(1 for file in files if file[2] == index)
            raise BadDataset(
                f"{folder} has {found} class(es) with two readable pictures ({looked} files seen); at least two are "
                "needed, each a folder of pictures."
            )


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


def draw_epoch(
    labels: Indices, folders: Indices, rng: np.random.Generator, *, balance: float, folder_balance: float
) -> Indices:
    """One epoch's images, as many as there are, in random order: (N,) positions in `labels`.

    labels, folders: (N,) class and folder of each image. folder_balance: a folder of n images gets a share in
    proportion to n**folder_balance; balance: so does a class within its folder. No image is drawn more than once more
    often than another of its class; with both at 1 each is drawn once.
    """
    weight = np.bincount(labels)[labels].astype(float) ** (balance - 1)
    images, drawn_alike = np.bincount(folders), np.bincount(folders, weight)
    weight *= (images.astype(float) ** folder_balance / np.maximum(drawn_alike, 1e-12))[folders]
    order = rng.permutation(len(labels))
    ends = np.cumsum(weight[order]) * (len(labels) / weight.sum())
    drawn = np.searchsorted(ends, np.arange(len(labels)) + rng.random(), side="right")  # systematic sampling
    return rng.permutation(order[drawn.clip(max=len(labels) - 1)])
