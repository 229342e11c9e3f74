"""A picture of several rows of pictures, each row with a heading: groups of duplicates, doubtful labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from ml.contact_sheet import AGREES, DIFFERS, INK, LAYOUT, PAPER, QUIET, UNKNOWN, Tile, place, write

MOST_TILES = 8  # of a row; the heading says how many there are
HEADING = 30
FRAMES = {True: AGREES, False: DIFFERS, None: UNKNOWN}


@dataclass(frozen=True)
class Row:
    """Pictures that belong together; the first is what the others are compared with."""

    heading: str
    tiles: Sequence[Tile]


def row_sheet(rows: Sequence[Row], *, title: str) -> Image.Image:
    """An RGB picture of `rows`, one under the other. Of a long row the first MOST_TILES are shown."""
    columns = max((min(len(row.tiles), MOST_TILES) for row in rows), default=1)
    step = HEADING + LAYOUT.cell + LAYOUT.gap
    top = LAYOUT.margin + 52
    width = max(2 * LAYOUT.margin + columns * (LAYOUT.thumb + LAYOUT.gap) - LAYOUT.gap, 640)
    sheet = Image.new("RGB", (width, top + max(len(rows), 1) * step - LAYOUT.gap + LAYOUT.margin), PAPER)
    draw = ImageDraw.Draw(sheet)
    across = width - 2 * LAYOUT.margin
    write(draw, (LAYOUT.margin, LAYOUT.margin - 6), title, size=28, colour=INK, width=across)
    for number, row in enumerate(rows):
        y = top + number * step
        write(draw, (LAYOUT.margin, y), row.heading, size=LAYOUT.detail, colour=QUIET, width=across)
        for column, tile in enumerate(row.tiles[:MOST_TILES]):
            at = (LAYOUT.margin + column * (LAYOUT.thumb + LAYOUT.gap), y + HEADING)
            place(sheet, tile, at, side=LAYOUT.thumb, frame=FRAMES[tile.agrees], weight=3)
    return sheet
