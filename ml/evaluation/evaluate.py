"""Evaluation: one or more models on the same pictures, each set by itself, with intervals.

The story from top to bottom: choose the pictures; load the models; embed every picture once; on each set rank
the gallery for every query, count all pairs, and resample the pictures for the intervals.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml.data.dataset import Skipped
from ml.data.split import read_split
from ml.embedder import NetworkEmbedder
from ml.evaluation.embedding import embed_files
from ml.evaluation.intervals import Interval, Replicates, interval, replicate
from ml.evaluation.metrics import Metrics, Rankings, rank, summary
from ml.evaluation.models import load_model, load_rival
from ml.evaluation.sets import JudgedSet, Selection, select
from ml.evaluation.verification import Roc, pairs_of, verification
from umbel.base.errors import BadDataset
from umbel.base.settings import Settings
from umbel.base.types import Vectors
from umbel.search.vote import TEMPERATURE

Watch = Callable[[str, int, int], None]  # told what is being done, how much of it is done, and of how much


@dataclass(frozen=True, slots=True)
class Judgement:
    """One model on one set. vectors: (N, D), the pictures in the set's order."""

    vectors: Vectors
    rankings: Rankings
    roc: Roc
    metrics: Metrics
    replicates: Replicates
    drawn_pairs: bool

    def interval(self, name: str) -> Interval:
        """Of the metric of this name."""
        return interval(self.replicates.metrics[name])

    def difference(self, name: str, other: "Judgement") -> Interval:
        """Of this model's metric less the other's, on the same draws of the same pictures."""
        return interval(self.replicates.metrics[name] - other.replicates.metrics[name])


@dataclass(frozen=True, slots=True)
class SetResult:
    """A set and what each model came to on it, in the order of Evaluation.models."""

    judged: JudgedSet
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured. models, names: the one that is judged, then those it is compared with."""

    models: tuple[NetworkEmbedder, ...]
    names: tuple[str, ...]
    checkpoints: tuple[Path, ...]
    selection: Selection
    split: Path | None
    results: tuple[SetResult, ...]
    skipped: tuple[Skipped, ...]
    resamples: int
    seed: int


def evaluate(
    folders: Sequence[Path],
    checkpoint: Path,
    settings: Settings,
    *,
    held_out: Sequence[Path] = (),
    apart: tuple[Path, Path] | None = None,
    split: Path | None = None,
    against: Sequence[Path] = (),
    include_hidden: bool = False,
    resamples: int = 1000,
    seed: int = 1,
    watch: Watch = lambda stage, done, total: None,
) -> Evaluation:
    """Judge the checkpoint on folders of class folders, and compare it with others on the same pictures.

    held_out: folders of classes that the model never saw; apart: a folder of queries and one of the gallery that they
    are searched in; split: what training wrote about its pictures; against: checkpoints, or bare timm backbones;
    include_hidden: see `umbel_files.walking.walk`.
    Raises BadDataset, ModelNotFound, BadCheckpoint, InvalidInput.
    """
    roles = read_split(split) if split else None
    selection = select(folders, held_out, roles, apart=apart, include_hidden=include_hidden)
    judged = load_model(checkpoint, settings)
    models = (judged, *(load_rival(path, judged.card, settings) for path in against))
    paths = list(dict.fromkeys(picture.path for one in selection.sets for picture in one.pictures))
    vectors, skipped = _embed(paths, models, settings, watch)
    unreadable = {one.path for one in skipped}
    sets = [one.without(unreadable) for one in selection.sets]
    readable = [path for path in paths if path not in unreadable]
    temperatures = [_temperature(model) for model in models]
    results = _judge_sets(sets, readable, vectors, temperatures, resamples=resamples, seed=seed, watch=watch)
    checkpoints = (checkpoint, *against)
    left_out = (*selection.skipped, *skipped)
    return Evaluation(models, _names(models), checkpoints, selection, split, results, left_out, resamples, seed)


def _embed(
    paths: list[Path], models: Sequence[NetworkEmbedder], settings: Settings, watch: Watch
) -> tuple[list[Vectors], list[Skipped]]:
    seen = 0

    def done(files: int) -> None:
        nonlocal seen
        seen += files
        watch("Embedding", seen, len(paths))

    watch("Embedding", 0, len(paths))
    vectors, skipped = embed_files(paths, models, settings, done)
    if len(skipped) == len(paths):
        raise BadDataset(
            f"None of the {len(paths)} files can be read as a picture; the first, {skipped[0].path}: "
            f"{skipped[0].reason}"
        )
    return vectors, skipped


def _judge_sets(
    sets: Sequence[JudgedSet],
    paths: Sequence[Path],
    vectors: Sequence[Vectors],
    temperatures: Sequence[float],
    *,
    resamples: int,
    seed: int,
    watch: Watch,
) -> tuple[SetResult, ...]:
    """Every model on every set. vectors: of each model, a row for each of the paths; temperatures: of its vote."""
    rows = {path: row for row, path in enumerate(paths)}
    results = []
    for number, one in enumerate(sets):
        watch("Judging", number, len(sets))
        one.check()
        chosen = [rows[picture.path] for picture in one.pictures]
        results.append(
            SetResult(
                one,
                tuple(
                    _judge(one, of_model[chosen], temperature, resamples=resamples, seed=(seed, number))
                    for of_model, temperature in zip(vectors, temperatures, strict=True)
                ),
            )
        )
    watch("Judging", len(sets), len(sets))
    return tuple(results)


def _temperature(model: NetworkEmbedder) -> float:
    """That by which `identify` lets neighbors vote with this model."""
    calibration = model.card.calibration
    return calibration.vote.temperature if calibration else TEMPERATURE


def _judge(
    judged: JudgedSet, vectors: Vectors, temperature: float, *, resamples: int, seed: tuple[int, int]
) -> Judgement:
    labels, protocol = judged.labels, judged.protocol
    rankings, roc = rank(vectors, labels, protocol, temperature=temperature), verification(vectors, labels, protocol)
    pairs = pairs_of(vectors, labels, seed[0], protocol=protocol)
    replicates = replicate(rankings, pairs, resamples, seed)
    return Judgement(vectors, rankings, roc, summary(rankings, roc), replicates, pairs.drawn)


def _names(models: Sequence[NetworkEmbedder]) -> tuple[str, ...]:
    """The models' names; of those that share one, the later ones are numbered."""
    seen: Counter[str] = Counter()
    names = []
    for model in models:
        seen[model.card.name] += 1
        number = seen[model.card.name]
        names.append(model.card.name if number == 1 else f"{model.card.name} ({number})")
    return tuple(names)
