"""An evaluation as JSON: every figure with its interval, and all that is needed to measure it again."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml.checkpoint import now
from ml.embedder import NetworkEmbedder
from ml.evaluation.evaluate import Evaluation, Judgement, SetResult
from ml.evaluation.intervals import FAR_GRID, LEVEL, NAMES, Interval
from ml.evaluation.metrics import KNN
from ml.revision import commit

VERSION = 1


def report(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation for json.dumps; figures in full but for noise, null where there is none."""
    described = [_model(*one) for one in zip(evaluation.models, evaluation.names, evaluation.checkpoints, strict=True)]
    return {
        "version": VERSION,
        "created_at": now(),
        "commit": commit(),
        "seed": evaluation.seed,
        "bootstrap": {"resamples": evaluation.resamples, "level": LEVEL, "method": "percentile, over pictures"},
        "k": KNN,
        "model": described[0],
        "against": described[1:],
        "data": _data(evaluation),
        "sets": [_set(evaluation, result) for result in evaluation.results],
    }


def _model(model: NetworkEmbedder, name: str, path: Path) -> dict[str, Any]:
    card = model.card
    return {
        "name": name,
        "checkpoint": str(path),
        "weights_sha256": card.weights_sha256,
        "architecture": card.architecture,
        "dim": card.dim,
        "preprocessing_hash": card.preprocessing_hash,
        "preprocessing": card.preprocessing.model_dump(mode="json"),
        "device": model.device,
        "precision": model.precision,
    }


def _data(evaluation: Evaluation) -> dict[str, Any]:
    selection, split = evaluation.selection, evaluation.split
    return {
        "folders": [str(folder) for folder in selection.folders],
        "split": {"path": str(split), "sha256": hashlib.sha256(split.read_bytes()).hexdigest()} if split else None,
        "judged": sum(len(result.judged.pictures) for result in evaluation.results),
        "left_out": {
            "trained_on": selection.trained,
            "duplicates": selection.duplicates,
            "unreadable": len(evaluation.skipped),
        },
        "unknown_to_the_split": selection.new,
        "skipped": [{"path": str(one.path), "reason": one.reason} for one in evaluation.skipped],
    }


def _set(evaluation: Evaluation, result: SetResult) -> dict[str, Any]:
    judged, rankings = result.judgements[0], result.judgements[0].rankings
    return {
        "name": result.judged.name,
        "kind": result.judged.kind,
        "pictures": len(rankings.labels),
        "queries": int(rankings.is_query.sum()),
        "classes": len(result.judged.classes),
        "pairs": {"same": judged.roc.same, "different": judged.roc.different, "intervals_by_draw": judged.drawn_pairs},
        **_figures(judged),
        "per_class": per_class(result),
        "against": [
            {"name": name, **_figures(other), "difference": _differences(judged, other)}
            for name, other in zip(evaluation.names[1:], result.judgements[1:], strict=True)
        ],
    }


def _figures(one: Judgement) -> dict[str, Any]:
    metrics = {name: _figure(getattr(one.metrics, name), one.interval(name)) for name in NAMES}
    far = [float(f"{rate:.4g}") for rate in FAR_GRID]
    curve = {"far": far, "tar": [_rounded(rate) for rate in one.roc.tars_at(FAR_GRID).tolist()]}
    return {"metrics": metrics, "eer_similarity": _rounded(one.roc.eer_threshold), "roc": curve}


def _differences(judged: Judgement, other: Judgement) -> dict[str, Any]:
    return {
        name: _figure(getattr(judged.metrics, name) - getattr(other.metrics, name), judged.difference(name, other))
        for name in NAMES
    }


def _figure(point: float, around: Interval) -> dict[str, float | None]:
    return {"point": _rounded(point), "low": _rounded(around.low), "high": _rounded(around.high)}


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 5)


def per_class(result: SetResult) -> list[dict[str, Any]]:
    """Each class as the judged model fares with it, in the order of their names; None for a class of one picture.

    right: share of its pictures that the k-NN vote knows; taken_for: what most of the others are taken for.
    """
    rankings, classes = result.judgements[0].rankings, result.judged.classes
    rows = []
    for label, name in enumerate(classes):
        own = (rankings.labels == label) & rankings.is_query
        rows.append(
            {
                "label": name,
                "pictures": int((rankings.labels == label).sum()),
                "r_at_1": _mean(rankings.hits[own, 0]),
                "map_at_r": _mean(rankings.average_precision[own]),
                "right": _mean(rankings.predicted[own] == label),
                "taken_for": _most(rankings.predicted[own & (rankings.predicted != label)], classes),
            }
        )
    return rows


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 5) if len(values) else None


def _most(predicted: np.ndarray, classes: Sequence[str]) -> str | None:
    return classes[int(np.bincount(predicted).argmax())] if len(predicted) else None
