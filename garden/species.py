"""What a species of the sample garden looks like, whichever specimen of it is drawn."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import pi, tan

import numpy as np

from garden.color import RGB, oklch
from garden.forms import FORMS, SHAPES, Form, Shape
from garden.names import species_name
from garden.palettes import Palette, anther_color, palette

GOLDEN = 0.6180339887498949
# Three bodies to every four species: the fourth wears the body of an earlier one in another colour.
BODIES_OF_FOUR = 3


@dataclass(frozen=True)
class Marking:
    """Strengths [0, 1] of what is painted over a petal."""

    throat: float = 0.0  # how far the throat's colour reaches up the petal
    edge: float = 0.0  # a rim in the marking's colour
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
class Body:
    """Build of a flower without its colours. Lengths are in units of the flower's radius, angles in degrees."""

    form: Form
    petals: int
    shape: Shape
    half_width: float
    elevation: float
    disc: float
    depth: float  # [0, 1]: how deep bells and trumpets are, how broad faces
    leaf: str
    leaf_length: float


@dataclass(frozen=True)
class Species:
    """A kind of flower: its name, build and colours. The same for every specimen of one (seed, index)."""

    name: str
    body: Body
    palette: Palette
    marking: Marking
    anther: RGB
    leaf: RGB


@lru_cache(maxsize=4096)
def species_of(seed: int, index: int) -> Species:
    """The index-th species of the garden sown with `seed` (both from 0).

    Traits are spread by low-discrepancy sequences, so that few species already differ widely and hundreds still
    do. Of every four neighbours one pair shares its palette (shapes tell them apart) and one pair its build
    (colours tell them apart): neither a colour histogram nor an outline alone is enough.
    """
    rng = np.random.default_rng([seed, index, 17])
    group, place = divmod(index, 4)
    body = body_of(seed, group * BODIES_OF_FOUR + place % BODIES_OF_FOUR)
    wearer = index - 1 if place == 1 else index
    return Species(
        name=species_name(seed, index, body.form.nouns),
        body=body,
        palette=_palette_of(seed, wearer),
        marking=_marking_of(seed, index, body.form),
        anther=anther_color(_spread(seed, index, stream=3)),
        leaf=oklch(0.50 + 0.12 * rng.random(), 0.09 + 0.05 * rng.random(), 125 + 25 * rng.random()),
    )


@lru_cache(maxsize=4096)
def body_of(seed: int, number: int) -> Body:
    """The number-th build: every form once, in an order of the seed's own, before any form comes again."""
    rounds, place = divmod(number, len(FORMS))
    order = np.random.default_rng([seed, rounds, 29]).permutation(len(FORMS))
    form = FORMS[order[place]]
    rng = np.random.default_rng([seed, number, 31])
    petals = form.petals[(rounds + int(rng.integers(len(form.petals)))) % len(form.petals)]
    shape = SHAPES[form.shapes[(rounds + int(rng.integers(len(form.shapes)))) % len(form.shapes)]]
    fullness = _within(form.fullness, rng.random())
    # Petals of this half width just touch their neighbours when fullness is 1.
    half_width = min(fullness * tan(pi / max(petals, 3)) * 0.78, 0.62)
    return Body(
        form=form,
        petals=petals,
        shape=replace(shape, bend=shape.bend + form.twist * (rng.random() - 0.5)),
        half_width=half_width,
        elevation=_within(form.elevation, rng.random()),
        disc=_within(form.disc, rng.random()),
        depth=rng.random(),
        leaf=form.leaves[int(rng.integers(len(form.leaves)))],
        leaf_length=0.9 + 0.7 * rng.random(),
    )


def _palette_of(seed: int, index: int) -> Palette:
    turn = np.random.default_rng([seed, index, 23]).random()
    return palette(_spread(seed, index, stream=1), turn=16 * (turn - 0.5))


def _marking_of(seed: int, index: int, form: Form) -> Marking:
    kinds = form.markings
    return MARKINGS[kinds[int(_spread(seed, index, stream=2) * len(kinds))]]


def _spread(seed: int, index: int, *, stream: int) -> float:
    """The index-th point of a golden-ratio sequence in [0, 1): neighbours lie far apart, and no gap stays."""
    start = float(np.random.default_rng([seed, stream, 41]).random())
    return (start + index * (GOLDEN if stream == 1 else GOLDEN * (1 + stream / 7))) % 1.0


def _within(bounds: tuple[float, float], share: float) -> float:
    low, high = bounds
    return low + (high - low) * float(share)
