"""How every figure looks: one palette with the contact sheets, a light ground, nothing that says nothing.

matplotlib's Agg canvas by its objects: no pyplot, no global state, safe in any thread.
"""

import colorsys
import io
import warnings
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from ml import contact_sheet
from umbel.base.replacing import replacing

Rgb = tuple[float, float, float]


def rgb(color: tuple[int, int, int]) -> Rgb:
    """A contact sheet's color as matplotlib takes it."""
    red, green, blue = (channel / 255 for channel in color)
    return red, green, blue


PAPER, CARD, INK, QUIET = map(rgb, (contact_sheet.PAPER, contact_sheet.CARD, contact_sheet.INK, contact_sheet.QUIET))
LINE = rgb((222, 221, 215))  # of grids and frames
SAME, DIFFERENT, ACCENT = map(rgb, (contact_sheet.AGREES, contact_sheet.DIFFERS, contact_sheet.ACCENT))
# Of models: the one that is judged, then those it is compared with.
MODELS = (ACCENT, DIFFERENT, QUIET, *(rgb(one) for one in ((138, 79, 160), (74, 124, 140), (176, 58, 72))))
# Of classes: told apart by most eyes, none so light that it is lost on paper.
CLASSES = tuple(
    f"#{code}"
    for code in "3e54ac c47634 2e8b57 b03a48 8a4fa0 c9a227 4f9bb5 d17aa0 7a5c3e 86a03a 5a5f66 1f6f6b".split()  # noqa: SIM905
)
DPI = 160


def figure(width: float, height: float, title: str | None = None) -> Figure:
    """An empty figure of this size in inches, its title at the upper left."""
    made = Figure(
        figsize=(width, height),
        dpi=DPI,
        layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.04, hspace=0.04),
        facecolor=PAPER,
    )
    FigureCanvasAgg(made)
    if title:
        made.suptitle(title, x=0.016, ha="left", color=INK, fontsize=13, fontweight="bold", parse_math=False)
    return made


def plain(axes: Axes, title: str = "") -> None:
    """Take away everything but a quiet grid and quiet numbers."""
    axes.set_facecolor(CARD)
    axes.set_title(title, loc="left", color=INK, fontsize=10.5, pad=8, parse_math=False)
    axes.tick_params(colors=QUIET, labelsize=8.5, length=0)
    axes.xaxis.label.set(color=QUIET, fontsize=9)
    axes.yaxis.label.set(color=QUIET, fontsize=9)
    axes.grid(color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set(color=LINE, linewidth=0.8)


def class_colors(count: int) -> list[str] | list[Rgb]:
    """A color for each class; up to twelve are easily told apart, of more the neighbours in the list are."""
    if count <= len(CLASSES):
        return list(CLASSES[:count])
    turn = (5**0.5 - 1) / 2  # the golden ratio: hues that follow one another lie far apart
    looks = ((0.62, 0.72), (0.45, 0.52), (0.78, 0.60))
    return [colorsys.hsv_to_rgb(number * turn % 1, *looks[number % 3]) for number in range(count)]


def save(made: Figure, path: Path) -> Path:
    """Write a PNG of few colors and few bytes; a reader meanwhile sees the old file or a complete one."""
    canvas = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a label in a script that the font lacks: boxes, not an outcry
        made.savefig(canvas, format="png")
    return save_image(Image.open(canvas).convert("RGB"), path)


def save_image(image: Image.Image, path: Path) -> Path:
    """Write a PNG; a reader meanwhile sees the old file or a complete one."""
    with replacing(path) as partial:
        image.save(partial, "PNG", optimize=True)
    return path
