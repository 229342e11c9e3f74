"""The drawing of the architecture is that of its source, and draws all of it."""

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

DOCS = Path(__file__).parents[2] / "docs"


def test_the_drawing_is_made_of_its_source() -> None:
    made = runpy.run_path(str(DOCS / "drawing.py"))
    assert (DOCS / "images" / "architecture.svg").read_text() == made["drawing"](), "run `make drawings`"


def test_nothing_is_fetched_from_elsewhere_and_no_text_leaves_its_box() -> None:
    made = runpy.run_path(str(DOCS / "drawing.py"))
    svg = made["drawing"]()
    ElementTree.fromstring(svg)
    assert re.findall(r"https?://(?!www\.w3\.org)", svg) == []
    for box in made["BOXES"]:
        left, top, width, height = box.place
        assert 0 <= left < left + width <= made["WIDTH"]
        assert 0 <= top < top + height <= made["HEIGHT"]
        assert max(map(len, box.lines)) * 7.2 <= width, box.name  # pixels a letter, at most
        assert (len(box.lines) + 1) * made["LINE"] <= height, box.name
