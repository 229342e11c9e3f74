"""What flowers of the garden can be: tables of forms, petals, markings, colors and names. Lengths in radii."""

from dataclasses import dataclass
from enum import StrEnum

LCH = tuple[float, float, float]  # lightness, chroma, hue in degrees (OKLCH)


class Head(StrEnum):
    """How the petals of a flower are put together."""

    RING = "ring"  # one or more whorls around a center
    SPIRAL = "spiral"  # many at the golden angle, outermost first
    FACE = "face"  # left and right mirror each other: pansy, orchid
    SPIKE = "spike"  # small flowers up a stem


class Center(StrEnum):
    """What sits in the middle of a flower."""

    DISC = "disc"  # florets in golden-angle spirals
    STAMENS = "stamens"
    FILAMENTS = "filaments"  # a passion flower's fringe
    EYE = "eye"  # a ring painted round a small opening
    NONE = "none"


@dataclass(frozen=True)
class Shape:
    """Outline and relief of a petal, relative to its own length or half width."""

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
class Marking:
    """Strengths [0, 1] of what is painted over a petal."""

    throat: float = 0.0  # how far the throat's color reaches up the petal
    edge: float = 0.0  # a rim in the marking's color
    stripe: float = 0.0  # along the midrib
    veins: float = 0.0
    speckles: float = 0.0
    blotch: float = 0.0  # a dark spot near the base
    feather: float = 0.0  # a leaf's slanting veins


MARKINGS = {
    "plain": Marking(throat=0.12, veins=0.25),
    "throated": Marking(throat=0.34, veins=0.30),
    "veined": Marking(throat=0.20, veins=1.0),
    "picotee": Marking(throat=0.15, edge=1.0, veins=0.2),
    "striped": Marking(throat=0.12, stripe=1.0, veins=0.2),
    "speckled": Marking(throat=0.22, speckles=1.0, veins=0.2),
    "blotched": Marking(throat=0.10, blotch=1.0, veins=0.3),
}


@dataclass(frozen=True)
class Form:
    """Bounds within which the species of one form differ; angles in degrees."""

    nouns: tuple[str, ...]
    head: Head
    petals: tuple[int, ...]
    shapes: tuple[str, ...]
    center: Center
    fullness: tuple[float, float] = (0.9, 1.2)
    whorls: int = 1
    elevation: tuple[float, float] = (5, 25)  # of the outer petals above the flower's plane
    disc: tuple[float, float] = (0.08, 0.12)  # radius of the center
    tilt: tuple[float, float] = (0, 42)  # of the flower's axis away from the viewer
    twist: float = 0.15
    leaves: tuple[str, ...] = ("oval", "pointed")
    markings: tuple[str, ...] = ("plain", "throated", "veined", "picotee", "striped", "blotched")


_LINES = ("plain", "throated", "striped", "picotee")

# A seed shuffles this table. Its order makes the default garden the one that the documents show.
FORMS: tuple[Form, ...] = (
    Form(("sun", "eye"), Head.RING, (17, 21, 26), ("pointed", "ribbon"), Center.DISC, (1.1, 1.5), 2, (0, 15),
         (0.40, 0.52), leaves=("oval",), markings=_LINES),
    Form(("cup", "poppy"), Head.RING, (4, 5, 6), ("crepe", "wedge", "round"), Center.STAMENS, (1.15, 1.4), 1, (18, 42)),
    Form(("tulip", "goblet"), Head.RING, (6,), ("oval", "pointed", "crepe"), Center.STAMENS, (1.0, 1.15), 2, (64, 74),
         (0.05, 0.07), (66, 84), leaves=("ribbon",), markings=("plain", "throated", "picotee", "striped")),
    Form(("lotus", "nymph"), Head.RING, (8, 9), ("pointed", "oval"), Center.STAMENS, (0.85, 1.0), 3, (14, 26),
         (0.10, 0.14), leaves=("round",), markings=("plain", "throated", "picotee")),
    Form(("pink", "campion"), Head.RING, (5,), ("fringed", "heart", "notched"), Center.EYE, (0.9, 1.15),
         disc=(0.07, 0.1), leaves=("ribbon",)),
    Form(("spire", "lupin"), Head.SPIKE, (4, 5), ("round", "spoon", "notched"), Center.EYE, (0.95, 1.2), tilt=(75, 90),
         leaves=("lance", "pointed"), markings=("plain", "throated", "blotched")),
    Form(("rose", "peony"), Head.SPIRAL, (19, 24), ("round", "ruffled", "heart"), Center.NONE, (3.0, 3.6),
         elevation=(4, 18), tilt=(0, 40), markings=("plain", "picotee", "throated")),
    Form(("passion", "wheel"), Head.RING, (10, 8), ("oval", "ribbon"), Center.FILAMENTS, (0.95, 1.1), disc=(0.16, 0.2),
         markings=("plain", "throated")),
    Form(("lily", "trumpet"), Head.RING, (6,), ("lance", "pointed"), Center.STAMENS, (0.75, 0.95), 2, (8, 30),
         (0.05, 0.07), leaves=("ribbon", "lance"), markings=("speckled", "striped", "throated", "picotee")),
    Form(("dahlia", "crown"), Head.SPIRAL, (44, 56), ("oval", "pointed", "strap"), Center.NONE, (4.2, 5.2),
         elevation=(0, 12), tilt=(0, 40), markings=("plain", "picotee", "striped")),
    Form(("orchid", "moth"), Head.FACE, (6,), ("oval", "round"), Center.EYE, leaves=("strap", "oval"),
         markings=("speckled", "veined", "plain", "picotee")),
    Form(("daisy", "aster"), Head.RING, (13, 21, 16), ("strap", "ribbon"), Center.DISC, (0.8, 1.15), disc=(0.22, 0.32),
         elevation=(-8, 12), leaves=("spoon", "lance"), markings=_LINES),
    Form(("cornet", "chicory"), Head.RING, (9, 12), ("toothed", "fringed"), Center.STAMENS, (1.0, 1.25), twist=0.5,
         leaves=("lance",), markings=("plain", "throated", "veined")),
    Form(("star", "borage"), Head.RING, (5, 6, 8), ("star", "lance"), Center.STAMENS, (0.75, 1.0)),
    Form(("clematis", "bower"), Head.RING, (4, 6, 8, 7), ("pointed", "ruffled"), Center.STAMENS, (0.95, 1.15),
         disc=(0.10, 0.14), elevation=(-5, 10), markings=("striped", "veined", "plain")),
    Form(("pansy", "violet"), Head.FACE, (5,), ("round", "wedge"), Center.EYE,
         markings=("blotched", "veined", "throated")),
)  # fmt: skip

# petal, tip, throat, marking; each lightness, chroma, hue in degrees.
PAINTS: tuple[tuple[LCH, LCH, LCH, LCH], ...] = (
    ((0.96, 0.015, 100), (0.98, 0.005, 100), (0.88, 0.12, 112), (0.60, 0.17, 345)),
    ((0.95, 0.050, 95), (0.97, 0.020, 95), (0.82, 0.16, 85), (0.55, 0.17, 30)),
    ((0.91, 0.165, 102), (0.95, 0.120, 105), (0.80, 0.17, 78), (0.50, 0.16, 35)),
    ((0.83, 0.170, 82), (0.88, 0.170, 92), (0.60, 0.18, 45), (0.38, 0.11, 30)),
    ((0.82, 0.110, 62), (0.89, 0.075, 72), (0.68, 0.17, 42), (0.50, 0.19, 22)),
    ((0.73, 0.180, 52), (0.80, 0.165, 65), (0.48, 0.17, 32), (0.33, 0.10, 25)),
    ((0.63, 0.220, 34), (0.70, 0.200, 43), (0.86, 0.17, 92), (0.27, 0.07, 20)),
    ((0.56, 0.220, 27), (0.61, 0.220, 26), (0.26, 0.06, 20), (0.24, 0.05, 20)),
    ((0.46, 0.180, 18), (0.54, 0.200, 14), (0.84, 0.15, 88), (0.26, 0.09, 10)),
    ((0.36, 0.120, 12), (0.45, 0.160, 10), (0.78, 0.16, 75), (0.86, 0.12, 85)),
    ((0.74, 0.155, 25), (0.82, 0.100, 32), (0.93, 0.08, 95), (0.48, 0.18, 18)),
    ((0.91, 0.045, 8), (0.83, 0.105, 0), (0.94, 0.10, 105), (0.58, 0.20, 5)),
    ((0.97, 0.012, 350), (0.66, 0.215, 2), (0.90, 0.12, 108), (0.52, 0.21, 5)),
    ((0.72, 0.170, 4), (0.81, 0.115, 358), (0.42, 0.16, 8), (0.40, 0.16, 5)),
    ((0.60, 0.235, 352), (0.67, 0.220, 346), (0.94, 0.05, 352), (0.34, 0.14, 350)),
    ((0.64, 0.240, 334), (0.72, 0.190, 330), (0.36, 0.15, 330), (0.32, 0.14, 325)),
    ((0.77, 0.120, 325), (0.86, 0.070, 325), (0.90, 0.13, 102), (0.47, 0.20, 320)),
    ((0.43, 0.170, 322), (0.52, 0.195, 325), (0.85, 0.14, 92), (0.90, 0.05, 320)),
    ((0.52, 0.205, 303), (0.60, 0.185, 300), (0.88, 0.15, 98), (0.28, 0.12, 300)),
    ((0.74, 0.110, 297), (0.82, 0.080, 300), (0.95, 0.03, 100), (0.42, 0.19, 296)),
    ((0.38, 0.155, 295), (0.93, 0.030, 300), (0.86, 0.15, 95), (0.24, 0.09, 295)),
    ((0.45, 0.190, 283), (0.53, 0.185, 280), (0.95, 0.02, 280), (0.27, 0.12, 285)),
    ((0.57, 0.180, 264), (0.66, 0.150, 258), (0.96, 0.02, 260), (0.32, 0.14, 270)),
    ((0.76, 0.100, 246), (0.84, 0.070, 240), (0.95, 0.11, 100), (0.46, 0.17, 262)),
    ((0.92, 0.030, 250), (0.80, 0.080, 268), (0.90, 0.09, 110), (0.44, 0.18, 278)),
    ((0.80, 0.085, 200), (0.87, 0.055, 205), (0.92, 0.10, 105), (0.45, 0.12, 245)),
    ((0.88, 0.130, 120), (0.94, 0.070, 115), (0.66, 0.13, 138), (0.50, 0.12, 25)),
    ((0.90, 0.155, 100), (0.60, 0.210, 30), (0.78, 0.16, 75), (0.45, 0.17, 28)),
    ((0.57, 0.140, 46), (0.79, 0.140, 80), (0.35, 0.09, 35), (0.30, 0.08, 30)),
    ((0.86, 0.075, 52), (0.78, 0.110, 330), (0.92, 0.13, 98), (0.48, 0.18, 340)),
)

ANTHERS: tuple[LCH, ...] = (
    (0.86, 0.17, 92), (0.76, 0.17, 68), (0.34, 0.08, 45), (0.25, 0.07, 320), (0.72, 0.14, 125), (0.94, 0.04, 100),
    (0.50, 0.17, 30),
)  # fmt: skip

# A species is named by one of these and a noun of its form, such as "moonstar".
FIRST_PARTS = (
    "amber ash aster bee birch blaze brook candle cinder clay cloud cobble copper coral crane cuckoo curlew dawn dew "
    "dove dusk ember fairy fawn feather fern finch flint fog fox frost gale glass glow goose hare harvest haze heron "
    "honey ivory jade juniper king lace lady lake lamb lantern lark linnet loch maiden maple marble mead milk mist "
    "moon moth needle north oak ocean opal otter owl pearl pepper pilgrim plover quail queen rain raven ribbon robin "
    "sable saffron satin shade shell shepherd silk silver snow sorrel sparrow spindle star sugar swan swift tansy "
    "thistle thrush thunder tide velvet vesper wax whisper widow willow winter wren"
)

QUALIFIERS = (
    "alpine coast crown desert field fen great heath highland island lesser marsh meadow mountain noble old pale "
    "prairie river rock sand shore tall true wild wood"
)
