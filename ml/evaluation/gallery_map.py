"""A map of a gallery: pictures in the plane, each near those that the model finds similar, framed by class."""

from collections.abc import Callable, Sequence
from math import ceil

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ml.contact_sheet import CARD, INK, PAPER, QUIET, Tile, place, shortened, write
from ml.evaluation.metrics import Labels
from ml.evaluation.style import class_colors
from umbel.base.types import Plane

Points = NDArray[np.float64]

MOST = 500  # pictures on a map: of more, none could be made out
SIDE, MARGIN, TOP = 1600, 32, 104  # pixels of the map, around it, and above it
COVERED = 0.42  # share of the map that pictures cover at most
LARGEST = 0.07  # side of a picture as a share of the map's
NAMES = 60  # classes whose names are written at most


def chosen(labels: Labels, seed: int) -> NDArray[np.intp]:
    """The pictures that go on the map, in order: all up to MOST; of more, as many drawn by seed, of every class."""
    order = np.random.default_rng(seed).permutation(len(labels))
    first = np.unique(labels[order], return_index=True)[1]  # one of each class, then in any order
    return np.sort(order[np.concatenate([first, np.setdiff1d(np.arange(len(order)), first)])[:MOST]])


def draw_map(
    points: Plane, labels: Labels, classes: Sequence[str], title: str, picture: Callable[[int], Image.Image]
) -> Image.Image:
    """An RGB picture: each picture in the cell nearest to its point, each class's name amid its own, none on another.

    points: (N, 2) in [0, 1], x to the right and y up; labels: (N,) in [0, C); picture: that of a point.
    """
    sheet = Image.new("RGB", (SIDE + 2 * MARGIN, SIDE + TOP + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    write(draw, (MARGIN, 26), "The gallery as the model sees it", size=28, colour=INK, width=SIDE)
    write(draw, (MARGIN, 66), title, size=18, colour=QUIET, width=SIDE)
    draw.rounded_rectangle((MARGIN, TOP, MARGIN + SIDE, TOP + SIDE), 12, fill=CARD)
    cells = ceil(max(1 / LARGEST, (len(points) / COVERED) ** 0.5))
    edge = SIDE / cells
    font = ImageFont.load_default(size=round(min((0.6 if len(np.unique(labels)) <= 20 else 0.44) * edge, 26)))
    colours = [tuple(round(255 * part) for part in to_rgb(colour)) for colour in class_colors(len(classes))]
    inner = 0.05 + 0.9 * points.astype(np.float64)  # off the edges
    upright = np.stack([inner[:, 0], 1 - inner[:, 1]], 1)  # as rows of pixels go
    free = np.ones((cells, cells), dtype=bool)
    for label in _named(labels):
        name = shortened(classes[label], font, SIDE // 4)
        room = ceil((font.getlength(name) + 12) / edge)
        x, y = _claim(free, np.median(upright[labels == label], axis=0), room)
        draw.text((MARGIN + x * SIDE, TOP + y * SIDE), name, fill=_darker(colours[label]), font=font, anchor="mm")
    for index, (row, column) in enumerate(_nearest_cells(free, upright)):
        corner = (round(MARGIN + column * edge) + 1, round(TOP + row * edge) + 1)
        place(sheet, Tile(picture(index), ""), corner, side=int(edge) - 2, frame=colours[labels[index]], weight=3)
    return sheet


def _named(labels: Labels) -> list[int]:
    """The classes whose names are written: the NAMES largest, largest first."""
    sizes = np.bincount(labels)
    return [int(label) for label in np.argsort(-sizes, kind="stable")[:NAMES] if sizes[label]]


def _claim(free: NDArray[np.bool_], middle: Points, room: int) -> tuple[float, float]:
    """Take the `room` free cells of one row that lie nearest to this point; their middle, as shares of the map.

    free: (n, n) by row and column, changed. Where none are free the point itself is returned, and nothing taken.
    """
    cells = len(free)
    runs = np.lib.stride_tricks.sliding_window_view(free, min(room, cells), axis=1).all(-1)
    if not runs.any():
        return float(middle[0]), float(middle[1])
    rows, columns = np.nonzero(runs)
    centres = np.stack([columns + room / 2, rows + 0.5], 1) / cells
    best = int(np.argmin(((centres - middle) ** 2).sum(1)))
    free[rows[best], columns[best] : columns[best] + room] = False
    return float(centres[best, 0]), float(centres[best, 1])


def _nearest_cells(free: NDArray[np.bool_], points: Points) -> NDArray[np.intp]:
    """(N, 2) row and column: a free cell for each point, no cell twice, the sum of squared ways as small as can be."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415

    if free.sum() < len(points):  # more names than room: pictures matter more
        free[:] = True
    found = np.argwhere(free)
    centres = (found[:, ::-1] + 0.5) / len(free)
    ways = ((points[:, None] - centres[None]) ** 2).sum(-1)
    cells: NDArray[np.intp] = found[linear_sum_assignment(ways)[1]]
    return cells


def _darker(colour: tuple[int, ...]) -> tuple[int, ...]:
    """A class's colour as ink, to be read on white."""
    return tuple(round(0.82 * channel) for channel in colour)
