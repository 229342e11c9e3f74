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
from umbel.base.errors import BadDataset

Kind = Literal["closed set", "held-out classes"]

HELD_OUT = "held-out classes"


@dataclass(frozen=True, slots=True)
class Picture:
    """A file that may be judged. folder: the position of the folder it was found in; kind: its class folder's name."""

    path: Path
    folder: int
    kind: str
    sha256: str


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """Pictures that are searched among one another. Classes of different folders are different classes."""

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

    def without(self, paths: set[Path]) -> "JudgedSet":
        """The set without these files."""
        return replace(self, pictures=tuple(picture for picture in self.pictures if picture.path not in paths))

    def check(self) -> None:
        """Raises BadDataset where there is nothing to find: less than two classes, or no class of two pictures."""
        sizes = Counter((picture.kind, picture.folder) for picture in self.pictures)
        if len(sizes) < 2:
            raise BadDataset(
                f"{self.name} ({self.kind}) has {len(sizes)} class(es) with readable pictures to judge; at least two "
                "are needed, each a folder of pictures."
            )
        if max(sizes.values()) < 2:
            raise BadDataset(
                f"Each class of {self.name} ({self.kind}) has a single picture; nothing can be found for it."
            )


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
    include_hidden: bool = False,
) -> Selection:
    """One closed set for each of `folders`, one set of unseen classes for each of `held_out`, one of the split's own.

    roles: the split; pictures that were trained on are left out everywhere. Of files with equal bytes a set keeps the
    first: each would be a sure hit for the other. Raises BadDataset when nothing is left to judge.
    """
    roles = roles or {}
    every = (*folders, *held_out)
    names = _names(every)
    listed = [class_files(folder, include_hidden=include_hidden) for folder in every]
    found = [picture for index, one in enumerate(listed) for picture in _pictures(every[index], index, one)]
    parts: dict[tuple[str, Kind], list[Picture]] = {}
    for picture in found:
        role = roles.get(picture.sha256)
        if role != "train":
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


def _part(picture: Picture, role: Role | None, names: Sequence[str], closed: int) -> tuple[str, Kind]:
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
    shared = Counter(folder.resolve().name for folder in folders)
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
