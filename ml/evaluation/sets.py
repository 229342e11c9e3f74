"""What a model is judged on: class folders, without what it was trained on, as closed sets and held-out classes."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.data.dataset import ClassFiles, Skipped, class_files
from ml.data.label_list import Role
from ml.evaluation.protocol import EVERY_OTHER, Protocol
from umbel.base.errors import BadDataset

Kind = Literal["closed set", "held-out classes", "queries and gallery"]
Part = Literal["either", "query", "gallery"]

HELD_OUT = "held-out classes"
APART: Kind = "queries and gallery"


@dataclass(frozen=True, slots=True)
class Picture:
    """A file that may be judged. folder: the position of the folder it was found in; kind: its class folder's name.

    part: whether it asks, is found, or either.
    """

    path: Path
    folder: int
    kind: str
    sha256: str
    part: Part = "either"


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """Pictures that are searched among one another, or queries in a gallery of others.

    Classes of different folders are different classes; those of queries and of their gallery are the same.
    """

    name: str
    kind: Kind
    pictures: tuple[Picture, ...]

    @property
    def keys(self) -> list[tuple[str, int]]:
        """The classes, in the order of their names."""
        return sorted({(picture.kind, picture.folder) for picture in self.pictures})

    @property
    def labels(self) -> NDArray[np.intp]:
        """(N,): the position of each picture's class."""
        number = {key: label for label, key in enumerate(self.keys)}
        return np.array([number[picture.kind, picture.folder] for picture in self.pictures], dtype=np.intp)

    @property
    def classes(self) -> list[str]:
        """(C,): the names of the classes; where two folders share one, the folder's number tells them apart."""
        shared = Counter(name for name, _ in self.keys)
        return [name if shared[name] == 1 else f"{name} ({folder + 1})" for name, folder in self.keys]

    @property
    def protocol(self) -> Protocol:
        """Which pictures ask, and which are found."""
        if self.kind != APART:
            return EVERY_OTHER
        asks = np.array([picture.part == "query" for picture in self.pictures], dtype=bool)
        return Protocol(asks, ~asks)

    @property
    def size(self) -> str:
        """How many pictures and classes it has, in words."""
        images = len(self.pictures)
        queries, gallery = int(self.protocol.asking(images).sum()), int(self.protocol.in_gallery(images).sum())
        return size_in_words(self.kind, queries, gallery, len(self.keys))

    def without(self, paths: set[Path]) -> "JudgedSet":
        """The set without these files."""
        return replace(self, pictures=tuple(picture for picture in self.pictures if picture.path not in paths))

    def check(self) -> None:
        """Raises BadDataset where nothing can be told: less than two classes, or no query with another to find."""
        classes = len(self.keys)
        if classes < 2:
            raise BadDataset(
                f"{self.name} ({self.kind}) has {classes} class(es) with readable pictures to judge; at least two are "
                "needed, each a folder of pictures."
            )
        if not self.protocol.asking(len(self.pictures)).any():
            raise BadDataset(f"{self.name} has no query left: all were trained on, or cannot be read.")
        if not self.protocol.relevant(self.labels).any():
            raise BadDataset(
                f"No query of {self.name} ({self.kind}) can find anything: none has another picture of its class in "
                "the gallery."
            )


def size_in_words(kind: Kind, queries: int, gallery: int, classes: int) -> str:
    """Of a set: how many pictures ask, how many are found, and of how many classes they are."""
    apart = f"{queries:,} queries, {gallery:,} pictures in the gallery"
    return f"{apart if kind == APART else f'{gallery:,} pictures'}, {classes:,} classes"


@dataclass(frozen=True, slots=True)
class Selection:
    """The sets, and what was left out of them. new: pictures that the split does not know; 0 without one."""

    sets: tuple[JudgedSet, ...]
    trained: int = 0
    duplicates: int = 0
    new: int = 0
    folders: tuple[Path, ...] = field(default=())
    skipped: tuple[Skipped, ...] = ()


def select(
    folders: Sequence[Path],
    held_out: Sequence[Path] = (),
    roles: Mapping[str, Role] | None = None,
    *,
    apart: tuple[Path, Path] | None = None,
    include_hidden: bool = False,
) -> Selection:
    """One closed set for each of `folders`, one set of unseen classes for each of `held_out`, one of the split's own.

    roles: the split; pictures that were trained on are left out, though not of the gallery of `apart`, which stays what
    would be served. Of files with equal bytes a set keeps the first: each would be a sure hit for the other. apart: a
    folder of queries and one of their gallery, a set of its own. Raises BadDataset when nothing is left to judge.
    """
    roles = roles or {}
    every = (*folders, *held_out, *(apart or ()))
    names = _names(every)
    listed = [class_files(folder, include_hidden=include_hidden) for folder in every]
    found = [picture for index, one in enumerate(listed) for picture in _pictures(every[index], index, one)]
    if apart:
        found = [_set_apart(picture, len(every) - 2) for picture in found]
        names[-2] = f"{names[-2]} in {names[-1]}"
    parts: dict[tuple[str, Kind], list[Picture]] = {}
    for picture in found:
        role = roles.get(picture.sha256)
        if role != "train" or picture.part == "gallery":
            parts.setdefault(_part(picture, role, names, len(folders)), []).append(picture)
    trained = len(found) - sum(map(len, parts.values()))
    if not parts:
        raise BadDataset(f"Nothing is left to judge: all {trained} pictures were trained on.")
    sets = tuple(JudgedSet(*part, _without_duplicates(pictures)) for part, pictures in parts.items())
    for one in sets:
        one.check()
    kept = sum(len(one.pictures) for one in sets)
    new = sum(picture.sha256 not in roles for one in sets for picture in one.pictures) if roles else 0
    skipped = tuple(chain(*(one.skipped for one in listed)))
    return Selection(sets, trained, len(found) - trained - kept, new, every, skipped)


def _set_apart(picture: Picture, queries: int) -> Picture:
    """The picture as a query, or as one of the gallery. queries: the position of their folder; the gallery is next."""
    if picture.folder < queries:
        return picture
    return replace(picture, folder=queries, part="query" if picture.folder == queries else "gallery")


def _part(picture: Picture, role: Role | None, names: Sequence[str], closed: int) -> tuple[str, Kind]:
    if picture.part != "either":
        return names[picture.folder], APART
    if picture.folder >= closed:
        return names[picture.folder], "held-out classes"
    return (HELD_OUT, "held-out classes") if role == "held-out" else (names[picture.folder], "closed set")


def _without_duplicates(pictures: Sequence[Picture]) -> tuple[Picture, ...]:
    first: dict[str, Picture] = {}
    for picture in pictures:
        first.setdefault(picture.sha256, picture)
    return tuple(first.values())


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or their paths where two share one."""
    shared = Counter(folder.name for folder in {folder.resolve() for folder in folders})
    return [folder.resolve().name if shared[folder.resolve().name] == 1 else str(folder) for folder in folders]


def _pictures(folder: Path, index: int, listed: ClassFiles) -> list[Picture]:
    """Every picture of every class folder, in order. Raises BadDataset for a folder without any."""
    found = [Picture(path, index, kind, _sha256(path)) for path, kind in listed.files]
    if not found:
        raise BadDataset(f"{folder} has no pictures; it must hold a folder of pictures for each class.")
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
