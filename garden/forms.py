"""The forms that flowers take, and the shapes of single petals: the garden's vocabulary."""

from dataclasses import dataclass
from enum import StrEnum


class Head(StrEnum):
    """How the parts of a flower are put together."""

    RING = "ring"  # one or more whorls of petals around a centre
    SPIRAL = "spiral"  # many petals at the golden angle, outermost first
    FACE = "face"  # left and right mirror each other: pansy, orchid
    UMBEL = "umbel"  # many florets on stalks from one point
    GLOBE = "globe"  # florets all over a ball
    SPIKE = "spike"  # florets up a stem
    BELLS = "bells"  # hanging bells on an arching stem
    CLUSTER = "cluster"  # a dome of broad florets


class Heart(StrEnum):
    """What sits in the middle of a flower."""

    DISC = "disc"  # florets in golden-angle spirals
    STAMENS = "stamens"
    COLUMN = "column"  # one long column, as of a mallow
    TRUMPET = "trumpet"  # a daffodil's corona
    FILAMENTS = "filaments"  # a passion flower's fringe
    EYE = "eye"  # a ring painted round a small opening
    NONE = "none"


@dataclass(frozen=True)
class Shape:
    """Outline and relief of a petal; lengths relative to its own length or half width."""

    taper: float  # how slowly it widens from its base: 0.2 at once, 1.5 from a claw
    tip: float  # 0.3 blunt, 0.5 round, 1 pointed, 1.6 drawn out
    notch: float = 0.0  # depth of a notch in the tip
    teeth: int = 0
    ruffle: float = 0.0  # waves of the rim
    fold: float = 0.25  # how far the rims stand up
    curl: float = 0.25  # how far tip and base bend away
    bend: float = 0.0  # sideways, like a propeller's blade


SHAPES = {
    "round": Shape(0.55, 0.45),
    "oval": Shape(0.75, 0.62, fold=0.3),
    "wedge": Shape(0.95, 0.32, ruffle=0.25, curl=0.35),
    "pointed": Shape(0.60, 0.95, fold=0.35),
    "star": Shape(0.30, 1.15, fold=0.4),
    "spoon": Shape(1.30, 0.50, fold=0.2),
    "strap": Shape(0.28, 0.28, notch=0.05, fold=0.2),
    "ribbon": Shape(0.30, 0.62, fold=0.3, curl=0.4),
    "heart": Shape(0.85, 0.40, notch=0.24),
    "notched": Shape(0.70, 0.34, notch=0.14),
    "toothed": Shape(1.10, 0.25, teeth=5, fold=0.2),
    "fringed": Shape(1.00, 0.22, teeth=11, ruffle=0.5),
    "ruffled": Shape(0.75, 0.36, ruffle=1.0, curl=0.4),
    "crepe": Shape(0.60, 0.33, ruffle=0.6, fold=0.45),
    "lance": Shape(0.55, 1.35, fold=0.4, curl=0.5),
}


@dataclass(frozen=True)
class Form:
    """Bounds within which the species of one form differ. Lengths in radii of the flower, angles in degrees."""

    nouns: tuple[str, ...]
    head: Head
    petals: tuple[int, ...]
    shapes: tuple[str, ...]
    hearts: Heart
    fullness: tuple[float, float] = (0.9, 1.2)
    whorls: int = 1
    elevation: tuple[float, float] = (5, 25)  # of the outer petals above the flower's plane
    disc: tuple[float, float] = (0.08, 0.12)  # radius of the centre
    tilt: tuple[float, float] = (0, 42)  # of the flower's axis away from the viewer
    twist: float = 0.15
    leaves: tuple[str, ...] = ("oval", "pointed")
    markings: tuple[str, ...] = ("plain", "throated", "veined", "picotee", "striped", "blotched")


_LINES = ("plain", "throated", "striped", "picotee")

FORMS: tuple[Form, ...] = (
    Form(("star", "borage"), Head.RING, (5, 6, 8), ("star", "lance"), Heart.STAMENS, (0.75, 1.0)),
    Form(("cup", "poppy"), Head.RING, (4, 5, 6), ("crepe", "wedge", "round"), Heart.STAMENS, (1.15, 1.4), 1, (18, 42)),
    Form(("mallow", "hibiscus"), Head.RING, (5,), ("ruffled", "wedge", "heart"), Heart.COLUMN, (1.1, 1.3), twist=0.5),
    Form(("daisy", "aster"), Head.RING, (13, 21, 16), ("strap", "ribbon"), Heart.DISC, (0.8, 1.15), disc=(0.22, 0.32),
         elevation=(-8, 12), leaves=("spoon", "lance"), markings=_LINES),
    Form(("sun", "eye"), Head.RING, (17, 21, 26), ("pointed", "ribbon"), Heart.DISC, (1.1, 1.5), 2, (0, 15),
         (0.40, 0.52), leaves=("oval",), markings=_LINES),
    Form(("dahlia", "crown"), Head.SPIRAL, (44, 56), ("oval", "pointed", "strap"), Heart.NONE, (4.2, 5.2),
         elevation=(0, 12), tilt=(0, 40), markings=("plain", "picotee", "striped")),
    Form(("rose", "peony"), Head.SPIRAL, (19, 24), ("round", "ruffled", "heart"), Heart.NONE, (3.0, 3.6),
         elevation=(4, 18), tilt=(0, 40), markings=("plain", "picotee", "throated")),
    Form(("lily", "trumpet"), Head.RING, (6,), ("lance", "pointed"), Heart.STAMENS, (0.75, 0.95), 2, (8, 30),
         (0.05, 0.07), leaves=("ribbon", "lance"), markings=("speckled", "striped", "throated", "picotee")),
    Form(("daffodil", "narciss"), Head.RING, (6,), ("pointed", "oval", "round"), Heart.TRUMPET, (0.95, 1.15),
         elevation=(-6, 8), disc=(0.26, 0.36), tilt=(10, 52), leaves=("ribbon",), markings=("plain",)),
    Form(("pansy", "violet"), Head.FACE, (5,), ("round", "wedge"), Heart.EYE,
         markings=("blotched", "veined", "throated")),
    Form(("orchid", "moth"), Head.FACE, (6,), ("oval", "round"), Heart.EYE, leaves=("strap", "oval"),
         markings=("speckled", "veined", "plain", "picotee")),
    Form(("lace", "parsley"), Head.UMBEL, (5,), ("heart", "round"), Heart.EYE, (0.9, 1.1), tilt=(20, 62),
         markings=("plain",)),
    Form(("globe", "allium"), Head.GLOBE, (6, 5), ("star", "pointed"), Heart.EYE, (0.7, 0.9), leaves=("ribbon",),
         markings=("plain", "striped")),
    Form(("spire", "lupin"), Head.SPIKE, (4, 5), ("round", "spoon", "notched"), Heart.EYE, (0.95, 1.2), tilt=(75, 90),
         leaves=("lance", "pointed"), markings=("plain", "throated", "blotched")),
    Form(("bell", "harebell"), Head.BELLS, (5, 6), ("pointed",), Heart.NONE, leaves=("ribbon", "lance"), tilt=(80, 90)),
    Form(("tulip", "goblet"), Head.RING, (6,), ("oval", "pointed", "crepe"), Heart.STAMENS, (1.0, 1.15), 2, (64, 74),
         (0.05, 0.07), (66, 84), leaves=("ribbon",), markings=("plain", "throated", "picotee", "striped")),
    Form(("passion", "wheel"), Head.RING, (10, 8), ("oval", "ribbon"), Heart.FILAMENTS, (0.95, 1.1), disc=(0.16, 0.2),
         markings=("plain", "throated")),
    Form(("clematis", "bower"), Head.RING, (4, 6, 8, 7), ("pointed", "ruffled"), Heart.STAMENS, (0.95, 1.15),
         disc=(0.10, 0.14), elevation=(-5, 10), markings=("striped", "veined", "plain")),
    Form(("lotus", "nymph"), Head.RING, (8, 9), ("pointed", "oval"), Heart.STAMENS, (0.85, 1.0), 3, (14, 26),
         (0.10, 0.14), leaves=("round",), markings=("plain", "throated", "picotee")),
    Form(("cornet", "chicory"), Head.RING, (9, 12), ("toothed", "fringed"), Heart.STAMENS, (1.0, 1.25), twist=0.5,
         leaves=("lance",), markings=("plain", "throated", "veined")),
    Form(("phlox", "verbena"), Head.CLUSTER, (5, 4), ("notched", "heart", "round"), Heart.EYE, (0.95, 1.15),
         tilt=(0, 50), markings=("throated", "plain", "picotee")),
    Form(("pink", "campion"), Head.RING, (5,), ("fringed", "heart", "notched"), Heart.EYE, (0.9, 1.15),
         disc=(0.07, 0.1), leaves=("ribbon",)),
)  # fmt: skip
