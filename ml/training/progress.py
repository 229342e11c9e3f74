"""A run's progress on disk: what is needed to go on after the process was killed, and to come to the same end.

Batches follow from the seed, the epoch and their number alone, so the moving parts are few: the weights, their average,
the head, AdamW's moments, and how far it got. Tensors are one safetensors file, the rest is its header.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ml.evaluation.metrics import Metrics
from ml.training.recipe import Recipe
from umbel.base.errors import BadCheckpoint, Conflict
from umbel.base.replacing import replacing


class Loss(NamedTuple):
    """The loss of a step and its parts."""

    total: float
    arcface: float
    drift: float


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch came to. loss and its parts: means; metrics: of the averaged weights, by validation set."""

    member: int  # of the soup, from 0
    number: int  # of the member's epochs, from 1
    size: int
    loss: float
    arcface: float
    drift: float
    metrics: dict[str, Metrics]
    score: float  # what epochs are compared by; NaN without validation images

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "Epoch":
        return cls(**raw | {"metrics": {name: Metrics(**one) for name, one in raw["metrics"].items()}})


@dataclass(slots=True)
class Progress:
    """How far a run got.

    member: the one being trained, from 0; losses: of each step; origin: name and hash of the start.
    """

    member: int = 0
    epochs: list[Epoch] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    origin: tuple[str, str] = ("", "")

    def of_member(self, member: int) -> list[Epoch]:
        """The epochs of one member, in order."""
        return [one for one in self.epochs if one.member == member]

    def best(self, member: int) -> Epoch:
        """The best epoch of a member that has one: the first of the highest score, the last where none has a score."""
        epochs = self.of_member(member)
        judged = [one for one in epochs if not math.isnan(one.score)]
        return max(judged, key=lambda one: one.score) if judged else epochs[-1]

    def member_is_done(self, recipe: Recipe) -> bool:
        """Whether the member being trained has all its epochs, or the last `patience` of them were no better."""
        done = len(self.of_member(self.member))
        return done == recipe.epochs or (done > 0 and done - self.best(self.member).number >= recipe.patience)

    def as_json(self) -> str:
        epochs = [asdict(one) for one in self.epochs]
        about = {"member": self.member, "epochs": epochs, "losses": self.losses, "origin": self.origin}
        return json.dumps(about)

    @classmethod
    def from_json(cls, text: str) -> "Progress":
        raw = json.loads(text)
        epochs = [Epoch.from_dict(one) for one in raw["epochs"]]
        return cls(raw["member"], epochs, [Loss(*one) for one in raw["losses"]], tuple(raw["origin"]))


def fingerprint(recipe: Recipe, images: Iterable[str], start: str) -> str:
    """What makes a run this run: its recipe, its images in order, and the start that was asked for."""
    parts = [json.dumps(recipe.as_dict(), sort_keys=True), start, *images]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class StateFile:
    """Where a run keeps its state while it goes. Written aside and renamed, so a kill leaves the old or the new one."""

    def __init__(self, path: Path, run: str) -> None:
        """run: the fingerprint of the run that the state must belong to."""
        self.path, self.run = path, run

    def save(self, progress: Progress, tensors: dict[str, Tensor]) -> None:
        """Replace the state by this one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial:
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
                partial,
                metadata={"run": self.run, "progress": progress.as_json()},
            )
            with partial.open("rb+") as written:
                os.fsync(written.fileno())

    def load(self) -> tuple[Progress, dict[str, Tensor]] | None:
        """The state to go on from, None without one.

        Raises Conflict when it belongs to another run, BadCheckpoint when it cannot be read.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as state:
                about = state.metadata() or {}
                tensors = {name: state.get_tensor(name) for name in state.keys()}  # noqa: SIM118 - no mapping
        except SafetensorError as error:
            raise BadCheckpoint(f"{self.path} cannot be read: {error}. Begin anew with --fresh.") from error
        if about.get("run") != self.run:
            raise Conflict(
                f"{self.path} belongs to an unfinished run with other images, another recipe or another start. "
                "Repeat its command to finish it, begin anew with --fresh, or choose another --out."
            )
        return Progress.from_json(about["progress"]), tensors
