"""Pictures of pictures: a query with its matches, or a folder at a glance."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import Literal

from PIL import Image, ImageDraw, ImageFont, ImageOps

Fit = Literal["cover", "contain"]

PAPER, CARD, INK, QUIET = (246, 245, 242), (255, 255, 255), (34, 36, 38), (122, 126, 130)
# Of a frame: same label, another label, not known.
AGREES, DIFFERS, UNKNOWN = (46, 139, 87), (196, 118, 52), (214, 213, 208)
ACCENT = (62, 84, 172)
SUPERSAMPLED = 2  # rounded corners are drawn this much larger, then reduced


@dataclass(frozen=True)
class Tile:
    """One picture with what is written under it.

    caption: in bold ink, such as a similarity; detail: quieter below it, such as a label. agrees: whether its label
    is the query's, None when it is not known. fit: "cover" crops to the square, "contain" keeps all of it.
    """

    picture: Image.Image
    caption: str
    detail: str | None = None
    agrees: bool | None = None
    fit: Fit = "cover"


@dataclass(frozen=True)
class _Layout:
    """Sizes in pixels."""

    thumb: int = 176
    query: int = 372
    gap: int = 20
    margin: int = 32
    caption: int = 18
    detail: int = 14

    @property
    def text(self) -> int:
        """Height of the lines under a thumbnail."""
        return self.caption + self.detail + 22

    @property
    def cell(self) -> int:
        """Height of a thumbnail with its lines."""
        return self.thumb + self.text


LAYOUT = _Layout()


def contact_sheet(query: Tile, matches: Sequence[Tile], *, title: str | None = None) -> Image.Image:
    """An RGB picture of a search: the query large at the left, the matches in reading order, nearest first.

    A match's frame is green when it agrees with the query, amber when it differs, pale when it has no label; where a
    match does not say, its detail is compared with the query's. The grid widens with the number of matches, so that
    1 and 50 both look right. No matches: says so.
    """
    columns = match_columns(len(matches))
    rows = max(ceil(len(matches) / columns), 1)
    top = LAYOUT.margin + (52 if title else 0)
    query_height = LAYOUT.query + LAYOUT.text + 30
    height = top + max(rows * (LAYOUT.cell + LAYOUT.gap) - LAYOUT.gap, query_height) + LAYOUT.margin
    left = LAYOUT.margin + LAYOUT.query + 2 * LAYOUT.gap
    width = left + columns * (LAYOUT.thumb + LAYOUT.gap) - LAYOUT.gap + LAYOUT.margin
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        write(draw, (LAYOUT.margin, LAYOUT.margin - 6), title, size=28, colour=INK, width=width - 2 * LAYOUT.margin)
    heading = "" if query.caption.lower() == "query" else "QUERY"
    write(draw, (LAYOUT.margin, top), heading, size=13, colour=ACCENT, width=LAYOUT.query)
    place(sheet, query, (LAYOUT.margin, top + 24), side=LAYOUT.query, frame=ACCENT, weight=3)
    draw.line((left - LAYOUT.gap, top, left - LAYOUT.gap, height - LAYOUT.margin), fill=(226, 225, 220), width=1)
    if not matches:
        write(draw, (left, top + 24), "no matches", size=LAYOUT.caption, colour=QUIET, width=width - left)
    for number, match in enumerate(matches):
        row, column = divmod(number, columns)
        at = (left + column * (LAYOUT.thumb + LAYOUT.gap), top + row * (LAYOUT.cell + LAYOUT.gap))
        place(sheet, match, at, side=LAYOUT.thumb, frame=_frame(_compared(match, query)), weight=3)
    return sheet


def grid(tiles: Iterable[Tile], columns: int | None = None, *, title: str | None = None) -> Image.Image:
    """An RGB picture of many pictures in rows of `columns` (at least 1; None: about as wide as a screen).

    Lines under the pictures take room only where a tile has some.
    """
    shown = list(tiles)
    columns = max(min(columns or _even_columns(len(shown), ceil(sqrt(len(shown) * 1.5))), len(shown)), 1)
    rows = max(ceil(len(shown) / columns), 1)
    gap, margin = LAYOUT.gap // 2, LAYOUT.margin
    top = margin + (52 if title else 0)
    cell = LAYOUT.thumb + _lines_height(shown)
    width = 2 * margin + columns * (LAYOUT.thumb + gap) - gap
    sheet = Image.new("RGB", (width, top + rows * (cell + gap) - gap + margin), PAPER)
    if title:
        write(ImageDraw.Draw(sheet), (margin, margin - 6), title, size=28, colour=INK, width=width - 2 * margin)
    for number, tile in enumerate(shown):
        row, column = divmod(number, columns)
        at = (margin + column * (LAYOUT.thumb + gap), top + row * (cell + gap))
        place(sheet, tile, at, side=LAYOUT.thumb, frame=_frame(tile), weight=3 if tile.agrees is not None else 1)
    return sheet


def match_columns(matches: int) -> int:
    """Columns for so many matches: as many as make the sheet about as wide as a screen, at most 8."""
    if matches <= 2:
        return max(matches, 1)
    return _even_columns(matches, min(max(ceil(sqrt(matches * 1.5)), 3), 8))


def _even_columns(count: int, ideal: int) -> int:
    """Of `ideal` columns and one more or less, those that leave the last row fullest; the wider of two equals."""
    return max((max(ideal + more, 1) for more in (-1, 0, 1)), key=lambda columns: (-(-count % columns), columns))


def _compared(match: Tile, query: Tile) -> Tile:
    if match.agrees is None and match.detail and query.detail:
        return replace(match, agrees=match.detail == query.detail)
    return match


def _lines_height(tiles: Sequence[Tile]) -> int:
    if any(tile.detail for tile in tiles):
        return LAYOUT.text
    return LAYOUT.caption + 14 if any(tile.caption for tile in tiles) else 0


def _frame(tile: Tile) -> tuple[int, int, int]:
    if tile.agrees is None:
        return UNKNOWN
    return AGREES if tile.agrees else DIFFERS


def place(
    sheet: Image.Image, tile: Tile, at: tuple[int, int], *, side: int, frame: tuple[int, int, int], weight: int
) -> None:
    """Paint a tile: a rounded picture in a thin frame, and its lines."""
    x, y = at
    radius = max(side // 22, 6)
    sheet.paste(frame, at, _rounded(side, radius))
    inner = side - 2 * weight
    sheet.paste(_square(tile, inner), (x + weight, y + weight), _rounded(inner, radius - weight + 1))
    draw, large = ImageDraw.Draw(sheet), side > LAYOUT.thumb
    caption = LAYOUT.caption + (4 if large else 0)
    write(draw, (x + 2, y + side + 8), tile.caption, size=caption, colour=INK, width=side - 4)
    if tile.detail:
        line = y + side + 12 + caption if tile.caption else y + side + 8
        write(draw, (x + 2, line), tile.detail, size=LAYOUT.detail + (2 if large else 0), colour=QUIET, width=side - 4)


def _square(tile: Tile, side: int) -> Image.Image:
    """The tile's picture as an RGB square; what is see-through becomes white."""
    picture = ImageOps.exif_transpose(tile.picture)
    if tile.fit == "cover":
        # A ribbon would be cropped to something unrecognisable: show all of it.
        longer, shorter = max(picture.size), max(min(picture.size), 1)
        if longer <= 3 * shorter:
            return _opaque(ImageOps.fit(_opaque(picture), (side, side), Image.Resampling.LANCZOS))
    whole = _opaque(picture)
    scale = min(side / whole.width, side / whole.height)
    size = (max(round(whole.width * scale), 1), max(round(whole.height * scale), 1))
    square = Image.new("RGB", (side, side), CARD)
    square.paste(whole.resize(size, Image.Resampling.LANCZOS), ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def _opaque(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        picture = ImageOps.autocontrast(picture.convert("F").point(lambda value: value / 256.0).convert("L"))
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (*CARD, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return picture.convert("RGB")


def _rounded(side: int, radius: int) -> Image.Image:
    mask = Image.new("L", (side * SUPERSAMPLED, side * SUPERSAMPLED))
    corner = max(radius, 1) * SUPERSAMPLED
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), corner, fill=255)
    return mask.reduce(SUPERSAMPLED)


def write(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, *, size: int, colour: tuple[int, int, int], width: int
) -> None:
    """One line of text, cut with an ellipsis where it would be wider than `width` pixels."""
    font = ImageFont.load_default(size=size)
    draw.text(at, shortened(text, font, width), fill=colour, font=font)


def shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The longest beginning of `text` that fits `width` pixels, with an ellipsis where something was cut."""
    line = " ".join(text.split())
    if font.getlength(line) <= width:
        return line
    low, high = 0, len(line)
    while low < high:  # the longest beginning that fits, by halving
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(line[:middle] + "…") <= width else (low, middle - 1)
    return line[:low].rstrip() + "…"
