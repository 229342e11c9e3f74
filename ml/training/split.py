"""Who is learnt from and who is only judged on: drawn once by seed, and written down beside the checkpoint."""

import json
from dataclasses import dataclass
from pathlib import Path

from ml import datasets
from ml.datasets import Dataset, Indices
from ml.evaluation.split import Role
from ml.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Split:
    """Positions in a Dataset, sorted, no picture twice.

    train: learnt from; validation: pictures of the same classes; held_out: all pictures of classes kept out of it.
    """

    train: Indices
    validation: Indices
    held_out: Indices

    def roles(self) -> dict[int, Role]:
        """The role of each position."""
        parts: tuple[tuple[Indices, Role], ...] = (
            (self.train, "train"),
            (self.validation, "validation"),
            (self.held_out, "held-out"),
        )
        return {int(index): role for part, role in parts for index in part}


def draw_split(dataset: Dataset, recipe: Recipe) -> Split:
    """The recipe's shares, by its seed. Duplicates stay on one side."""
    others, held_out = datasets.hold_out(dataset, recipe.held_out_classes, recipe.seed)
    train, validation = datasets.split(dataset, others, recipe.validation, recipe.seed)
    return Split(train, validation, held_out)


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
