"""The pictures of an evaluation, written as PNG files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ml.evaluation.evaluate import Evaluation, SetResult, Watch
from ml.evaluation.figures import Curve, Panel, confusion_figure, roc_figure, similarity_figure
from ml.evaluation.gallery_map import chosen, draw_map
from ml.evaluation.intervals import band
from ml.evaluation.query_sheet import query_sheet
from ml.evaluation.style import save, save_image
from ml.projection import project
from umbel.base.settings import Settings
from umbel.decoding.images import decode

SIDE = 192  # shorter side of pictures as they are opened for sheets and maps, in pixels

ROC, SIMILARITIES = "roc.png", "similarities.png"


def file_name(kind: str, number: int) -> str:
    """The file of a set's picture: confusion.png, and confusion-2.png for the second set."""
    return f"{kind}.png" if not number else f"{kind}-{number + 1}.png"


def set_title(result: SetResult) -> str:
    """A set in words, with its size."""
    judged = result.judged
    name = judged.name if judged.name == judged.kind else f"{judged.name}, {judged.kind}"
    return f"{name}: {judged.size}"


def write_album(evaluation: Evaluation, out: Path, settings: Settings, watch: Watch) -> None:
    """Draw every picture into the folder `out`: the curves of all sets together, the rest set by set."""
    total = 2 + 3 * len(evaluation.results)
    watch("Drawing", 0, total)
    panels = [_panel(evaluation, result) for result in evaluation.results]
    save(roc_figure(panels), out / ROC)
    save(similarity_figure(panels), out / SIMILARITIES)
    for number, result in enumerate(evaluation.results):
        for step, (kind, draw) in enumerate((("confusion", _confusion), ("queries", _queries), ("map", _map))):
            watch("Drawing", 2 + 3 * number + step, total)
            draw(result, out / file_name(kind, number), settings, evaluation.seed)
    watch("Drawing", total, total)


def _panel(evaluation: Evaluation, result: SetResult) -> Panel:
    bands = [band(one.replicates.tar) if evaluation.resamples else None for one in result.judgements]
    curves = zip(evaluation.names, result.judgements, bands, strict=True)
    return Panel(set_title(result), [Curve(name, one.roc, around) for name, one, around in curves])


def _confusion(result: SetResult, path: Path, settings: Settings, seed: int) -> None:
    from sklearn.metrics import confusion_matrix  # noqa: PLC0415 - takes a second to import

    rankings = result.judgements[0].rankings
    is_query, classes = rankings.is_query, result.judged.classes
    matrix = confusion_matrix(rankings.labels[is_query], rankings.predicted[is_query], labels=range(len(classes)))
    save(confusion_figure(matrix, classes, set_title(result)), path)


def _queries(result: SetResult, path: Path, settings: Settings, seed: int) -> None:
    rankings = result.judgements[0].rankings
    sheet = query_sheet(rankings, result.judged.classes, set_title(result), _opener(result, settings))
    save_image(sheet, path)


def _map(result: SetResult, path: Path, settings: Settings, seed: int) -> None:
    judgement, opener = result.judgements[0], _opener(result, settings)
    labels = judgement.rankings.labels
    gallery = np.flatnonzero(result.judged.protocol.in_gallery(len(labels)))
    shown = gallery[chosen(labels[gallery], seed)]
    drawn = f"; {len(shown)} of the {len(gallery):,} in the gallery, drawn by seed"
    title = set_title(result) + (drawn if len(shown) < len(gallery) else "")
    points = project(judgement.vectors[shown], seed)
    sheet = draw_map(points, labels[shown], result.judged.classes, title, lambda index: opener(int(shown[index])))
    save_image(sheet, path)


def _opener(result: SetResult, settings: Settings) -> Callable[[int], Image.Image]:
    """Opens the picture at a position of the set, small and upright."""

    def picture(index: int) -> Image.Image:
        small = decode(result.judged.pictures[index].path.read_bytes(), settings, side=2 * SIDE)
        small.thumbnail((2 * SIDE, 2 * SIDE))
        return small

    return picture
