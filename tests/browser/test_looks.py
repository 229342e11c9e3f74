"""How views look: compared with small pictures of them in looks/, light and dark, wide and on a phone.

What a view shows is always the same: the answers (answers.py), pictures of one color each, and the font. Compared are
the means of squares of 16 pixels, in which it counts for nothing how a machine draws the edges of letters. Another font
would change 0.3 % of the squares, a button without its color 0.6 %, links of another color 0.7 %, the list of views
without its names 1 %.

After a change that is meant: UMBEL_TEST_WRITE_LOOKS=1, look at the pictures, and commit them.
"""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import matplotlib
import numpy as np
import pytest
from apiflask import APIFlask
from PIL import Image
from playwright.sync_api import Browser, Route
from waitress.server import create_server

from api import create_app
from tests.browser.answers import Answers, image_id

pytestmark = pytest.mark.timeout(180)

FOLDER = Path(__file__).parent / "looks"
SIZES = {"wide": (1280, 800), "phone": (390, 844)}
# {name: its address, what is there once it is filled}
VIEWS = {
    "gallery": ("#/gallery?collection=garden", ".grid .tile"),
    "search": (f"#/search?image={image_id(9)}", "[aria-label=Matches] .tile"),
    "jobs": ("#/jobs", ".row"),
    "keys": ("#/admin?tab=keys", "tbody tr"),
}
# Pictures on the screen have come, and so have fonts and icons.
PAINTED = """async () => {
    await document.fonts.ready;
    const seen = [...document.images].filter((one) => one.getBoundingClientRect().top < innerHeight);
    await Promise.all(seen.map((one) => one.decode().catch(() => null)));
    await new Promise(requestAnimationFrame);
    return true;
}"""
REDUCED = 4  # pixels of the screen across one of a kept picture
SQUARE = 4  # of its pixels across what is compared
FAR = 20  # of 255 in a color of a square: something else is there
MOST_FAR = 0.005  # of all squares
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FACES = {"DejaVuSans.ttf": "100 500", "DejaVuSans-Bold.ttf": "501 900"}  # for these weights


@pytest.fixture(scope="module")
def app() -> APIFlask:
    return create_app()


@pytest.fixture(scope="module")
def url(app: APIFlask) -> Iterator[str]:
    """The page alone: what it asks the API for is answered before it gets there."""
    server = create_server(app, host="127.0.0.1", port=0)
    Thread(target=server.run, daemon=True).start()
    yield f"http://127.0.0.1:{server.effective_port}"  # type: ignore[union-attr]
    server.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_views_look_as_they_did(chromium: Browser, app: APIFlask, url: str, scheme: str, size: str) -> None:
    width, height = SIZES[size]
    context = chromium.new_context(
        base_url=url,
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": height},
        is_mobile=size == "phone",
        has_touch=size == "phone",
        reduced_motion="reduce",
    )
    page = context.new_page()
    Answers(app).serve(page)
    page.route("**/static/base.css", with_font)
    for font in FACES:
        page.route(f"**/{font}", lambda route: route.fulfill(path=FONTS / route.request.url.rpartition("/")[2]))
    different = {}
    for name, (address, filled) in VIEWS.items():
        page.goto(f"/{address}")
        page.locator(filled).first.wait_for()
        page.wait_for_function(PAINTED)
        now = reduced(page.screenshot())
        kept = FOLDER / f"{name}-{scheme}-{size}.webp"
        if os.environ.get("UMBEL_TEST_WRITE_LOOKS"):
            FOLDER.mkdir(exist_ok=True)
            now.save(kept, lossless=True, method=6)
        if found := difference(now, Image.open(kept)):
            different[kept.stem] = found
    context.close()
    assert different == {}


def with_font(route: Route) -> None:
    """The first font that the page asks for is one that is the same everywhere."""
    faces = "".join(
        f"@font-face {{ font-family: Inter; src: url({file}); font-weight: {weights}; }}\n"
        for file, weights in FACES.items()
    )
    answer = route.fetch()
    route.fulfill(response=answer, body=faces + answer.text())


def reduced(screenshot: bytes) -> Image.Image:
    return Image.open(io.BytesIO(screenshot)).convert("RGB").reduce(REDUCED)


def difference(now: Image.Image, kept: Image.Image) -> str | None:
    """What is different, in words; None if that is little."""
    if now.size != kept.size:
        return f"{now.size} and not {kept.size}"
    one, other = (np.asarray(image.convert("RGB").reduce(SQUARE), dtype=float) for image in (now, kept))
    apart = np.abs(one - other).max(axis=2)
    far = float((apart > FAR).mean())
    return f"{far:.1%} of the squares" if far > MOST_FAR else None
