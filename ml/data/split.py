"""Which images are learned from and which are only judged on: drawn by seed, written beside the checkpoint."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ml.data.dataset import Dataset, Indices
from ml.data.label_list import Role
from umbel.base.errors import BadDataset


@dataclass(frozen=True, slots=True)
class Split:
    """Positions in a Dataset, sorted, no picture twice.

    train: learnt from; validation: pictures of the same classes; held_out: all pictures of classes kept out of it;
    aside: those of the folders that are only judged on, and what shows the same as they do.
    """

    train: Indices
    validation: Indices
    held_out: Indices
    aside: Indices = field(default_factory=lambda: np.empty(0, np.intp))

    def roles(self) -> dict[int, Role]:
        """The role of each position."""
        parts: tuple[tuple[Indices, Role], ...] = (
            (self.train, "train"),
            (self.validation, "validation"),
            (self.held_out, "held-out"),
            (self.aside, "held-out"),
        )
        return {int(index): role for part, role in parts for index in part}


def draw_split(dataset: Dataset, *, validation: float, held_out_classes: int, seed: int) -> Split:
    """A split by seed; duplicates stay on one side. validation: share of each class; held_out_classes: see hold_out."""
    is_aside = with_groups(dataset, dataset.is_aside)
    others, held_out = hold_out(dataset, held_out_classes, seed, np.flatnonzero(~is_aside))
    train, judged = split_off(dataset, others, validation, seed)
    return _checked(dataset, Split(train, judged, held_out, np.flatnonzero(is_aside)))


def split_by_roles(dataset: Dataset) -> Split:
    """The split that lists of labels fix (see Dataset.roles); what has no role is learned from. Raises BadDataset."""
    is_aside = with_groups(dataset, dataset.is_aside)
    roles = np.where(is_aside, "", [role or "train" for role in dataset.roles])
    parts = [np.flatnonzero(roles == role) for role in ("train", "validation", "held-out", "")]
    return _checked(dataset, Split(*parts))


def refit_split(dataset: Dataset) -> Split:
    """All pictures learnt from, but those only judged on and what shows the same."""
    is_aside, none = with_groups(dataset, dataset.is_aside), np.empty(0, np.intp)
    return Split(np.flatnonzero(~is_aside), none, none, np.flatnonzero(is_aside))


def _checked(dataset: Dataset, split: Split) -> Split:
    classes = len(np.unique(dataset.labels[split.train]))
    if classes < 2:
        raise BadDataset(
            f"{classes} class(es) are left to learn from, without those that are held out and what shows the same as "
            "their pictures do; at least two are needed."
        )
    return split


def split_off(dataset: Dataset, among: Indices, share: float, seed: int) -> tuple[Indices, Indices]:
    """Divide the pictures `among` into (rest, taken), `share` of each class's groups taken; by seed, sorted.

    Each group goes to one side, also across classes. Each class keeps at least one picture in the rest.
    """
    rng = np.random.default_rng(seed)
    labels, groups = dataset.labels[among], dataset.groups[among]
    side: dict[int, bool] = {}
    due = 0.5  # what rounding left over: of classes of two pictures a share of one fifth takes one in every few
    classes = _by_class(labels)
    for number in rng.permutation(len(classes)):
        positions = classes[number]
        own = list(dict.fromkeys(rng.permutation(groups[positions]).tolist()))
        due += share * len(own)
        wanted = min(int(due), len(own) - 1)
        due -= int(due)
        wanted -= sum(side.get(group, False) for group in own)
        for group in own:
            side.setdefault(group, wanted > 0)
            wanted -= 1
    _keep_some_of_each(side, labels, groups)
    taken = np.array([side[group] for group in groups.tolist()], dtype=bool)
    return np.sort(among[~taken]), np.sort(among[taken])


def _by_class(labels: Indices) -> list[Indices]:
    """The positions of each class's pictures, labels (N,)."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(labels) else []


def _keep_some_of_each(side: dict[int, bool], labels: Indices, groups: Indices) -> None:
    """Hand a group back to every class that others, sharing its groups, have left without any."""
    for positions in _by_class(labels):
        own = groups[positions].tolist()
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


def hold_out(dataset: Dataset, count: int, seed: int, among: Indices | None = None) -> tuple[Indices, Indices]:
    """Divide the pictures `among`, else all: (those of other classes, those of `count` classes of the richest folder).

    Pictures of other classes that share a group with those go with them, so that no group is parted. None are set
    aside when that folder has fewer than four times as many classes.
    """
    among = np.arange(len(dataset.labels)) if among is None else among
    classes, first = np.unique(dataset.labels[among], return_index=True)
    of_class = dataset.folders[among][first]
    richest = classes[of_class == np.bincount(of_class, minlength=1).argmax()]
    if not count or len(richest) < 4 * count:
        return among, among[:0]
    chosen = np.random.default_rng(seed).choice(richest, count, replace=False)
    aside = with_groups(dataset, np.isin(dataset.labels, chosen))[among]
    return among[~aside], among[aside]


def with_groups(dataset: Dataset, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,): the pictures chosen (N,), and all others of their groups."""
    return np.isin(dataset.groups, dataset.groups[chosen])


def write_split(path: Path, dataset: Dataset, split: Split, seed: int) -> None:
    """JSON that `umbel evaluate --split` reads. Pictures are named by their bytes, so that folders may move."""
    pictures = [
        {
            "folder": dataset.folder_names[dataset.folders[index]],
            "path": dataset.relative_path(index),
            "sha256": dataset.sha256[index],
            "label": dataset.classes[dataset.labels[index]],
            "role": role,
        }
        for index, role in sorted(split.roles().items())
    ]
    path.write_text(json.dumps({"version": 1, "seed": seed, "pictures": pictures}, indent=1) + "\n")


class _Picture(BaseModel):
    model_config = ConfigDict(frozen=True)

    sha256: str
    gallery_sha256: str | None = None  # of the bytes that a gallery holds, where the file is a copy that it served
    role: Role


class _Split(BaseModel):
    model_config = ConfigDict(frozen=True)

    version: Literal[1]
    pictures: list[_Picture]


def read_split(path: Path) -> Mapping[str, Role]:
    """The role of each picture, by the SHA-256 of its bytes, hex: folders may move.

    Bytes that were trained on count as trained on, whatever other role they have as well. Raises BadDataset.
    """
    try:
        pictures = _Split.model_validate_json(path.read_bytes()).pictures
    except OSError as error:
        raise BadDataset(f"The split {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "file"
        raise BadDataset(f"The split {path} cannot be read: {where}: {problem['msg']}.") from error
    known = [(name, one.role) for one in pictures for name in (one.sha256, one.gallery_sha256) if name]
    return dict(known) | {name: role for name, role in known if role == "train"}
