"""An evaluation as a page of Markdown with its pictures, for someone who was not there."""

from collections.abc import Iterable, Sequence
from typing import Any

from ml.evaluation.album import ROC, SIMILARITIES, file_name

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
        "how well the 11 nearest, each voting by its similarity, name the class; mean over classes",
    ),
    "auc": ("AUC", "how often a pair of one class is more similar than a pair of two"),
    "eer": ("EER", "the error at the threshold where both kinds of pair are equally often mistaken; lower is better"),
    "tar_at_far_1e2": ("TAR at FAR 1 %", "pairs of one class accepted, where 1 % of the others are"),
    "tar_at_far_1e3": ("TAR at FAR 0.1 %", "the same where 0.1 % are"),
}
WEAKEST = 12
SKIPPED = 20


def report_card(report: Report) -> str:
    """The page. report: what ml.evaluation.report made; the pictures lie beside the page."""
    parts = [_head(report)]
    parts += [_set(report, one, number) for number, one in enumerate(report["sets"])]
    parts += [_pairs(report["sets"]), _reading(report), _data(report["data"])]
    return "\n".join(parts)


def _head(report: Report) -> str:
    model, data = report["model"], report["data"]
    others = [f"`{one['name']}` (`{one['weights_sha256'][:12]}`)" for one in report["against"]]
    compared = f" Compared on the same pictures with {', '.join(others)}." if others else ""
    return (
        f"# {model['name']}, evaluated\n\n"
        f"Weights `{model['weights_sha256'][:12]}` ({model['architecture']}, {model['dim']} dimensions, preprocessing "
        f"`{model['preprocessing_hash'][:12]}`) on {data['judged']:,} pictures, {report['created_at'][:10]}.{compared} "
        "The same facts for machines: `evaluation.json`.\n"
    )


def _set(report: Report, one: Report, number: int) -> str:
    known = one["kind"] if one["kind"] != one["name"] else "classes the model never saw"
    drawn = " Intervals of AUC, EER and TAR are over pairs drawn by seed." if one["pairs"]["intervals_by_draw"] else ""
    size = (
        f"{one['pictures']:,} pictures of {one['classes']:,} classes, {one['queries']:,} of them queries, "
        f"{one['pairs']['same']:,} pairs of one class and {one['pairs']['different']:,} of two.{drawn}"
    )
    pictures = (
        ("queries", "The best and the worst queries with their five nearest pictures"),
        ("confusion", "Each class by what its nearest pictures vote for"),
        ("map", "The gallery as a map: what the model finds similar lies together"),
    )
    shown = "\n".join(f"![{words}]({file_name(kind, number)})\n" for kind, words in pictures)
    return (
        f"## {_cell(one['name'])}: {known}\n\n{size}\n\n{_metrics(report, one)}\n{shown}\n{_weakest(one['per_class'])}"
    )


def _metrics(report: Report, one: Report) -> str:
    header = ["", report["model"]["name"], "95 %"]
    rows = [list(row) for row in figures(one["metrics"])]
    for other in one["against"]:
        header += [other["name"], "difference", "95 %"]
        for row, theirs, apart in zip(
            rows, figures(other["metrics"]), figures(other["difference"], sign="+"), strict=True
        ):
            row += [theirs[1], *apart[1:]]
    return _table(header, rows)


def figures(found: dict[str, Figure], sign: str = "") -> list[tuple[str, str, str]]:
    """Of each metric its title, its value and its interval in words. sign "+": for differences."""
    return [(METRICS[name][0], _number(one["point"], sign), _interval(one, sign)) for name, one in found.items()]


def _weakest(classes: Sequence[Report]) -> str:
    """The classes that the vote knows least."""
    known = sorted(
        (one for one in classes if one["right"] is not None), key=lambda one: (one["right"], one["map_at_r"])
    )
    rows = [
        [
            one["label"],
            one["pictures"],
            _number(one["right"]),
            _number(one["r_at_1"]),
            _number(one["map_at_r"]),
            one["taken_for"] or "–",
        ]
        for one in known[:WEAKEST]
    ]
    title = (
        f"The {len(rows)} weakest of {len(known)} classes:"
        if len(known) > WEAKEST
        else "Class by class, the weakest first:"
    )
    return f"{title}\n\n" + _table(["class", "pictures", "known by vote", "R@1", "MAP@R", "else taken for"], rows)


def _pairs(sets: Sequence[Report]) -> str:
    marks = ", ".join(
        f"{one['eer_similarity']:.3f} ({_cell(one['name'])})" for one in sets if one["eer_similarity"] is not None
    )
    return (
        "## Same class or not?\n\n"
        f"![True against false acceptance, with 95 % bands]({ROC})\n\n"
        f"![How similar pictures of one class are, and of two]({SIMILARITIES})\n\n"
        f"Both kinds of pair are equally often mistaken at a cosine similarity of {marks}.\n"
    )


def _reading(report: Report) -> str:
    rows = [[title, meaning] for title, meaning in METRICS.values()]
    how = report["bootstrap"]
    return (
        "## How to read it\n\n"
        "Each picture is a query once, against all the others of its set; one that is alone in its class is no query, "
        f"but can be found. Intervals hold the middle 95 % of {how['resamples']:,} resamples of the pictures (seed "
        f"{report['seed']}): what other pictures of the same kind might have given. They know nothing of other "
        "kinds of picture, nor of labels that are wrong. A difference whose interval holds 0 may be chance.\n\n"
        + _table(["", "says"], rows)
    )


def _data(data: Report) -> str:
    left_out = data["left_out"]
    lines = [
        f"- Folders: {', '.join(f'`{folder}`' for folder in data['folders'])}",
        f"- Left out: {left_out['trained_on']:,} trained on, {left_out['duplicates']:,} of equal bytes with another, "
        f"{left_out['unreadable']:,} unreadable",
    ]
    if data["split"]:
        lines.append(
            f"- Split: `{data['split']['path']}`; it does not know {data['unknown_to_the_split']:,} of the pictures"
        )
    else:
        lines.append("- No split was given: pictures that the model was trained on may be among those it is judged on")
    skipped = data["skipped"]
    lines += [f"- Skipped `{one['path']}`: {_cell(one['reason'])}" for one in skipped[:SKIPPED]]
    if len(skipped) > SKIPPED:
        lines.append(f"- … and {len(skipped) - SKIPPED:,} more, in `evaluation.json`")
    return "## What was judged\n\n" + "\n".join(lines) + "\n"


def _table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(value: object) -> str:
    """On one line, and taken literally."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "\\|*_`<[" else letter for letter in text)


def _number(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.3f}"


def _interval(figure: Figure, sign: str = "") -> str:
    return "–" if figure["low"] is None else f"[{_number(figure['low'], sign)}, {_number(figure['high'], sign)}]"
