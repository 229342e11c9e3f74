"""Contact sheets: whatever the pictures, a clean sheet of a sensible size."""

import pytest
from PIL import Image, ImageFont

from ml.contact_sheet import AGREES, DIFFERS, LAYOUT, UNKNOWN, Tile, contact_sheet, grid, match_columns, shortened


def tile(size=(60, 40), mode="RGB", **more):
    return Tile(Image.new(mode, size, more.pop("colour", 0)), more.pop("caption", "0.93"), **more)


def colours(sheet):
    return {colour for _, colour in sheet.getcolors(sheet.width * sheet.height)}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 10, 50])
def test_a_sheet_holds_every_match_at_a_sensible_size(count):
    sheet = contact_sheet(tile(), [tile() for _ in range(count)], title="Matches")
    columns = match_columns(count)
    assert sheet.mode == "RGB"
    assert columns * LAYOUT.thumb < sheet.width < 2400
    assert -(-count // columns) * LAYOUT.thumb < sheet.height < 2400


@pytest.mark.parametrize("count", range(1, 51))
def test_no_column_stays_empty(count):
    assert 1 <= match_columns(count) <= count


@pytest.mark.parametrize("size", [(1, 1), (2000, 3), (3, 2000), (16, 16), (1200, 900)])
@pytest.mark.parametrize("fit", ["cover", "contain"])
def test_odd_shapes_are_shown(size, fit):
    assert contact_sheet(tile(size, fit=fit), [tile(size, fit=fit)]).mode == "RGB"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "HSV"])
def test_every_kind_of_picture_is_shown(mode):
    assert contact_sheet(tile(mode=mode), [tile(mode=mode)]).mode == "RGB"


@pytest.mark.parametrize(
    "text", ["", " ", "x" * 5000, "a label of many words " * 40, "Schlüsselblume – 桜 🌸", "a\nb\tc"]
)
def test_any_text_is_written_without_spilling(text):
    sheet = contact_sheet(tile(caption=text, detail=text), [tile(caption=text, detail=text)] * 3, title=text)
    assert sheet.width < 1200


def test_long_text_ends_in_an_ellipsis_and_fits():
    font = ImageFont.load_default(size=14)
    short = shortened("a label far too long for the room it has", font, 100)
    assert short.endswith("…")
    assert font.getlength(short) <= 100
    assert shortened("fits", font, 100) == "fits"


@pytest.mark.parametrize(
    ("own", "other", "said", "frame"),
    [
        ("rose", "rose", None, AGREES),
        ("rose", "lily", None, DIFFERS),
        (None, "lily", None, UNKNOWN),
        ("rose", None, None, UNKNOWN),
        ("rose", "lily", True, AGREES),
        (None, None, False, DIFFERS),
    ],
)
def test_the_frame_tells_whether_the_labels_agree(own, other, said, frame):
    seen = colours(contact_sheet(tile(detail=own), [tile(detail=other, agrees=said)]))
    assert {colour for colour in (AGREES, DIFFERS, UNKNOWN) if colour in seen} == {frame}


@pytest.mark.parametrize(("count", "columns"), [(0, None), (1, None), (5, 2), (5, 40), (30, None)])
def test_a_grid_takes_any_number(count, columns):
    sheet = grid([tile(caption="") for _ in range(count)], columns, title="Garden")
    assert sheet.mode == "RGB"
    assert sheet.width <= 2 * LAYOUT.margin + max(count, 1) * (LAYOUT.thumb + LAYOUT.gap)


def test_see_through_parts_become_white():
    clear = Tile(Image.new("RGBA", (50, 50), (255, 0, 0, 0)), "")
    assert (255, 255, 255) in colours(grid([clear], 1))


def test_the_pictures_given_stay_as_they_were():
    picture = Image.new("RGBA", (30, 20), (1, 2, 3, 4))
    before = picture.tobytes()
    contact_sheet(Tile(picture, "query"), [Tile(picture, "1.00")])
    assert (picture.tobytes(), picture.mode) == (before, "RGBA")
