"""An evaluation as a dictionary for JSON, with every figure and its interval, and as a page of Markdown for people.

templates/card.md.j2 is the page. album.py draws the images that it shows.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from ml.checkpoint import now
from ml.embedder import NetworkEmbedder
from ml.evaluation.album import file_name, write_album
from ml.evaluation.evaluate import Evaluation, Judgement, SetResult, Watch
from ml.evaluation.intervals import FAR_GRID, LEVEL, NAMES, Interval
from ml.revision import commit
from umbel.base.errors import InvalidInput
from umbel.base.settings import Settings
from umbel.search.vote import K

VERSION = 1
Report = dict[str, Any]
Figure = dict[str, float | None]

# How each metric is called, and what it says.
METRICS = {
    "r_at_1": ("R@1", "how often the nearest picture is of the query's class"),
    "r_at_5": ("R@5", "how often one of the five nearest is"),
    "r_at_10": ("R@10", "how often one of the ten nearest is"),
    "r_precision": ("R-precision", "the share of its class among the R nearest, if the class has R others"),
    "map_at_r": ("MAP@R", "the same, counting more what comes first"),
    "knn_macro_f1": (
        "11-NN F1",
        "how well the vote of the 11 nearest, as `identify` counts it, names the class; mean over classes",
    ),
    "auc": ("AUC", "how often a pair of one class is more similar than a pair of two"),
    "eer": ("EER", "the error at the threshold where both kinds of pair are equally often mistaken; lower is better"),
    "tar_at_far_1e2": ("TAR at FAR 1 %", "pairs of one class accepted, where 1 % of the others are"),
    "tar_at_far_1e3": ("TAR at FAR 0.1 %", "the same where 0.1 % are"),
}
WEAKEST = 12  # classes that the page lists at most
MOST_SKIPPED = 20  # files that the page lists at most


def make_folder(out: Path) -> None:
    """Create the folder, before hours of work depend on it. Raises InvalidInput where that cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise InvalidInput(f"Nothing can be written to {out}: {error.strerror}.") from error


def write_report(
    evaluation: Evaluation,
    found: Report,
    out: Path,
    settings: Settings,
    watch: Watch = lambda stage, done, total: None,
) -> None:
    """Write evaluation.json, card.md and its images into the folder `out`. found: what `report` made of it."""
    make_folder(out)
    (out / "evaluation.json").write_text(json.dumps(found, indent=1) + "\n")
    write_album(evaluation, out, settings, watch)
    (out / "card.md").write_text(card(found))


def card(found: Report) -> str:
    """The report as a page of Markdown, for someone who was not there; the images lie beside it."""
    pages = Environment(
        loader=PackageLoader("ml.evaluation"), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    pages.filters |= {"count": "{:,}".format, "number": number, "interval": interval_in_words, "cell": _cell}
    page = pages.get_template("card.md.j2")
    return page.render(found, metrics=METRICS, file_name=file_name, weakest=WEAKEST, most_skipped=MOST_SKIPPED)


def _cell(value: object) -> str:
    """On one line, and taken literally."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "\\|*_`<[" else letter for letter in text)


def figures(metrics: dict[str, Figure], sign: str = "") -> list[tuple[str, str, str]]:
    """Of each metric its title, its value and its interval in words. sign "+": for differences."""
    return [
        (METRICS[name][0], number(figure["point"], sign), interval_in_words(figure, sign))
        for name, figure in metrics.items()
    ]


def number(value: float | None, sign: str = "") -> str:
    """With three decimals; – where there is none."""
    return "–" if value is None else f"{value:{sign}.3f}"


def interval_in_words(figure: Figure, sign: str = "") -> str:
    """[low, high]; – where there is none."""
    return "–" if figure["low"] is None else f"[{number(figure['low'], sign)}, {number(figure['high'], sign)}]"


def report(evaluation: Evaluation) -> Report:
    """The evaluation for json.dumps; figures in full but for noise, null where there is none."""
    models = zip(evaluation.models, evaluation.names, evaluation.checkpoints, strict=True)
    judged, *against = [_model(*described) for described in models]
    return {
        "version": VERSION,
        "created_at": now(),
        "commit": commit(),
        "seed": evaluation.seed,
        "bootstrap": {"resamples": evaluation.resamples, "level": LEVEL, "method": "percentile, over pictures"},
        "k": K,
        "model": judged,
        "against": against,
        "data": _data(evaluation),
        "sets": [_set(evaluation, result) for result in evaluation.results],
    }


def _model(model: NetworkEmbedder, name: str, path: Path) -> Report:
    own = ("weights_sha256", "architecture", "dim", "preprocessing_hash", "preprocessing")
    described = model.card.model_dump(mode="json", include=set(own))
    return {
        "name": name,
        "checkpoint": str(path),
        **{key: described[key] for key in own},
        "device": model.device,
        "runtime": model.runtime,
        "precision": model.precision,
    }


def _data(evaluation: Evaluation) -> Report:
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
        "skipped": [{"path": str(file.path), "reason": file.reason} for file in evaluation.skipped],
    }


def _set(evaluation: Evaluation, result: SetResult) -> Report:
    judged, *others = result.judgements
    rankings = judged.rankings
    return {
        "name": result.judged.name,
        "kind": result.judged.kind,
        "pictures": len(rankings.labels),
        "asking": int(rankings.asks.sum()),
        "queries": int(rankings.is_query.sum()),
        "gallery": int(result.judged.protocol.in_gallery(len(rankings.labels)).sum()),
        "classes": len(result.judged.classes),
        "pairs": {"same": judged.roc.same, "different": judged.roc.different, "intervals_by_draw": judged.drawn_pairs},
        **_figures(judged),
        "per_class": _per_class(result),
        "against": [
            {"name": name, **_figures(other), "difference": _differences(judged, other)}
            for name, other in zip(evaluation.names[1:], others, strict=True)
        ],
    }


def _figures(judgement: Judgement) -> Report:
    metrics = {name: _figure(getattr(judgement.metrics, name), judgement.interval(name)) for name in NAMES}
    roc = judgement.roc
    far = [float(f"{rate:.4g}") for rate in FAR_GRID]
    curve = {"far": far, "tar": [_rounded(rate) for rate in roc.tars_at(FAR_GRID).tolist()]}
    return {"metrics": metrics, "eer_similarity": _rounded(roc.eer_threshold), "roc": curve}


def _differences(judged: Judgement, other: Judgement) -> Report:
    return {
        name: _figure(getattr(judged.metrics, name) - getattr(other.metrics, name), judged.difference(name, other))
        for name in NAMES
    }


def _figure(point: float, around: Interval) -> Figure:
    return {"point": _rounded(point), "low": _rounded(around.low), "high": _rounded(around.high)}


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 5)


def _per_class(result: SetResult) -> list[Report]:
    """Each class as the judged model fares with it, by name; None for a class without a query that can find another.

    right: share of its queries that the k-NN vote knows; taken_for: what most of the others are taken for.
    """
    rankings, classes = result.judgements[0].rankings, result.judged.classes
    rows = []
    for label, name in enumerate(classes):
        own = (rankings.labels == label) & rankings.is_query
        mistaken = rankings.predicted[own & (rankings.predicted != label)]
        rows.append(
            {
                "label": name,
                "pictures": int((rankings.labels == label).sum()),
                "r_at_1": _mean(rankings.hits[own, 0]),
                "map_at_r": _mean(rankings.average_precision[own]),
                "right": _mean(rankings.predicted[own] == label),
                "taken_for": classes[int(np.bincount(mistaken).argmax())] if len(mistaken) else None,
            }
        )
    return rows


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 5) if len(values) else None
