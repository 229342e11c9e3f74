"""A contact sheet of the queries that went best and worst, each with its nearest pictures."""

from collections.abc import Callable, Sequence
from math import ceil

import numpy as np
from PIL import Image, ImageDraw

from ml.contact_sheet import ACCENT, AGREES, DIFFERS, INK, LAYOUT, PAPER, QUIET, UNKNOWN, Tile, place, write
from ml.evaluation.metrics import Rankings

EACH = 5  # queries shown of either kind
MATCHES = 5

THUMB, GAP, COLUMN_GAP, HEAD = 140, 10, 64, 132
ROW = THUMB + LAYOUT.text + 14
COLUMN = (MATCHES + 1) * (THUMB + GAP) + GAP

HEADINGS = (
    ("Best queries", "all of their class come first, and nothing else comes near"),
    ("Worst queries", "others come first: look for a wrong label, two subjects, or a likeness you would grant"),
)


def extremes(rankings: Rankings, each: int = EACH) -> tuple[list[int], list[int]]:
    """The best and the worst queries, best and worst first, no picture twice, the classes taking turns.

    By average precision at R; among equals by how much more similar the nearest of the class is than the nearest other.
    """
    queries = np.flatnonzero(rankings.is_query)
    order = queries[np.lexsort((_margin(rankings)[queries], rankings.average_precision[queries]))]
    half = len(order) // 2
    best = _by_turns(order[half:][::-1].tolist(), rankings, each)
    return best, _by_turns(order[:half].tolist(), rankings, each)


def _margin(rankings: Rankings) -> np.ndarray:
    """(N,): similarity of the nearest hit less that of the nearest miss, as far as the neighbours kept tell."""
    floor = -2.0  # below any cosine, also where a small gallery has no neighbor left
    similarity = rankings.similarity.clip(min=floor)
    hit = np.where(rankings.hits, similarity, floor).max(1, initial=floor)
    miss = np.where(rankings.hits, floor, similarity).max(1, initial=floor)
    margin: np.ndarray = hit - miss
    return margin


def _by_turns(queries: Sequence[int], rankings: Rankings, each: int) -> list[int]:
    """The first of these queries, of each class at most its share of them while there are others."""
    share = max(1, ceil(each / max(1, len(np.unique(rankings.labels)))))
    taken: dict[int, int] = {}
    first: list[int] = []
    later: list[int] = []
    for query in queries:
        label = int(rankings.labels[query])
        taken[label] = taken.get(label, 0) + 1
        (first if taken[label] <= share else later).append(query)
    return (first + later)[:each]


def query_sheet(
    rankings: Rankings, classes: Sequence[str], title: str, picture: Callable[[int], Image.Image]
) -> Image.Image:
    """An RGB picture: at the left the best queries, at the right the worst, each in a row with its nearest five.

    classes: the names of the labels; picture: that of a position in the set.
    """
    columns = extremes(rankings)
    rows = max(map(len, columns))
    width = 2 * LAYOUT.margin + 2 * COLUMN + COLUMN_GAP
    sheet = Image.new("RGB", (width, HEAD + rows * ROW + 12), PAPER)
    draw = ImageDraw.Draw(sheet)
    write(draw, (LAYOUT.margin, 22), title, size=18, colour=QUIET, width=width - 2 * LAYOUT.margin)
    for number, (queries, (heading, meaning)) in enumerate(zip(columns, HEADINGS, strict=True)):
        left = LAYOUT.margin + number * (COLUMN + COLUMN_GAP)
        write(draw, (left, 56), heading, size=26, colour=INK, width=COLUMN)
        write(draw, (left, 92), meaning, size=15, colour=QUIET, width=COLUMN)
        for row, query in enumerate(queries):
            _row(sheet, (left, HEAD + row * ROW), *_tiles(query, rankings, classes, picture))
    return sheet


def _tiles(
    query: int, rankings: Rankings, classes: Sequence[str], picture: Callable[[int], Image.Image]
) -> tuple[Tile, list[Tile]]:
    """The query and its nearest pictures, with what is written under them."""
    shown = Tile(picture(query), f"AP@R {rankings.average_precision[query]:.2f}", classes[rankings.labels[query]])
    nearest = zip(
        rankings.nearest[query, :MATCHES].tolist(),
        rankings.similarity[query, :MATCHES].tolist(),
        rankings.hits[query, :MATCHES].tolist(),
        strict=True,
    )
    return shown, [
        Tile(picture(match), f"{similarity:.2f}", classes[rankings.labels[match]], hit)
        for match, similarity, hit in nearest
        if similarity >= -1.01  # a small gallery has fewer
    ]


def _row(sheet: Image.Image, at: tuple[int, int], query: Tile, matches: Sequence[Tile]) -> None:
    """The query in its own colour, then its nearest: green of its class, amber of another."""
    left, top = at
    place(sheet, query, at, side=THUMB, frame=ACCENT, weight=3)
    left += THUMB + 2 * GAP
    ImageDraw.Draw(sheet).line((left - GAP, top, left - GAP, top + THUMB), fill=UNKNOWN, width=1)
    for number, match in enumerate(matches):
        where = (left + number * (THUMB + GAP), top)
        place(sheet, match, where, side=THUMB, frame=AGREES if match.agrees else DIFFERS, weight=3)
