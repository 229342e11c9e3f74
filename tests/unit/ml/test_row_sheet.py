"""Rows of pictures as one picture."""

from PIL import Image

from ml.contact_sheet import Tile
from ml.row_sheet import MOST_TILES, Row, row_sheet


def tiles(count: int) -> list[Tile]:
    return [Tile(Image.new("RGB", (40, 30), "red"), "caption", "detail", agrees=True) for _ in range(count)]


def test_a_sheet_is_as_wide_as_its_longest_row_and_as_high_as_there_are_rows() -> None:
    one = row_sheet([Row("a", tiles(5))], title="Sheet")
    two = row_sheet([Row("a", tiles(5)), Row("b", tiles(2))], title="Sheet")
    assert (two.width, two.height > one.height) == (one.width, True)


def test_of_a_long_row_the_first_are_shown() -> None:
    sheets = [row_sheet([Row("a", tiles(count))], title="Sheet").size for count in (MOST_TILES, 50)]
    assert sheets[0] == sheets[1]


def test_a_sheet_without_rows_has_a_title() -> None:
    assert row_sheet([], title="Nothing").getcolors(10**6)
