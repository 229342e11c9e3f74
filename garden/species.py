"""What a species of the sample garden looks like, whichever specimen of it is drawn."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import pi, tan

import numpy as np

from garden.catalog import ANTHERS, FIRST_PARTS, FORMS, MARKINGS, PAINTS, QUALIFIERS, SHAPES, Form, Marking, Shape
from garden.color import RGB, oklch

GOLDEN = 0.6180339887498949
# Three bodies to every four species: the fourth wears the body of an earlier one in another color.
BODIES_OF_FOUR = 3


@dataclass(frozen=True)
class Palette:
    """Colors of one flower: petal, its tip, its throat, and the markings drawn over them."""

    petal: RGB
    tip: RGB
    throat: RGB
    marking: RGB


@dataclass(frozen=True)
class Body:
    """Build of a flower without its colors. Lengths are in units of the flower's radius, angles in degrees."""

    form: Form
    petals: int
    shape: Shape
    half_width: float
    elevation: float
    disc: float
    breadth: float  # [0, 1]: how broad the petals of a face are
    leaf: str
    leaf_length: float


@dataclass(frozen=True)
class Species:
    """A kind of flower: its name, build and colors. The same for every specimen of one (seed, index)."""

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
    do. Of every four neighbors one pair shares its palette (shapes tell them apart) and one pair its build
    (colors tell them apart): neither a color histogram nor an outline alone is enough.
    """
    rng = np.random.default_rng([seed, index, 17])
    group, place = divmod(index, 4)
    body = _body_of(seed, group * BODIES_OF_FOUR + place % BODIES_OF_FOUR)
    markings = body.form.markings
    return Species(
        name=species_name(seed, index, body.form.nouns),
        body=body,
        palette=_palette_of(seed, index - 1 if place == 1 else index),
        marking=MARKINGS[markings[int(_spread(seed, index, stream=2) * len(markings))]],
        anther=oklch(*ANTHERS[int(_spread(seed, index, stream=3) * len(ANTHERS))]),
        leaf=oklch(0.50 + 0.12 * rng.random(), 0.09 + 0.05 * rng.random(), 125 + 25 * rng.random()),
    )


def species_name(seed: int, index: int, nouns: tuple[str, ...]) -> str:
    """Name of the index-th species, such as "moonstar" or "marsh-moonstar"; a different one for every index.

    Each first part is used once before a qualifier is put in front; qualifiers are the digits of a number, so the
    names never run out and never repeat, whatever the nouns.
    """
    firsts, qualifiers = FIRST_PARTS.split(), QUALIFIERS.split()
    rounds, place = divmod(index, len(firsts))
    first = firsts[np.random.default_rng([seed, 1_000_003]).permutation(len(firsts))[place]]
    noun = next(
        (noun for noun in nouns[index % len(nouns) :] + nouns if noun != first and first[-1] != noun[0]), nouns[0]
    )
    words = [first + noun]
    while rounds > 0:
        rounds, digit = divmod(rounds - 1, len(qualifiers))
        words.insert(0, qualifiers[digit])
    return "-".join(words)


@lru_cache(maxsize=4096)
def _body_of(seed: int, number: int) -> Body:
    """The number-th build: every form once, in an order of the seed's own, before any form comes again."""
    rounds, place = divmod(number, len(FORMS))
    order = np.random.default_rng([seed, rounds, 29]).permutation(len(FORMS))
    form = FORMS[order[place]]
    rng = np.random.default_rng([seed, number, 31])
    petals = form.petals[(rounds + int(rng.integers(len(form.petals)))) % len(form.petals)]
    shape = SHAPES[form.shapes[(rounds + int(rng.integers(len(form.shapes)))) % len(form.shapes)]]
    fullness = _within(form.fullness, rng.random())
    return Body(
        form=form,
        petals=petals,
        shape=replace(shape, bend=shape.bend + form.twist * (rng.random() - 0.5)),
        # Petals of this half width just touch their neighbors when fullness is 1.
        half_width=min(fullness * tan(pi / max(petals, 3)) * 0.78, 0.62),
        elevation=_within(form.elevation, rng.random()),
        disc=_within(form.disc, rng.random()),
        breadth=rng.random(),
        leaf=form.leaves[int(rng.integers(len(form.leaves)))],
        leaf_length=0.9 + 0.7 * rng.random(),
    )


def _palette_of(seed: int, index: int) -> Palette:
    """One of the paints, its hues turned a little to a shade of the species' own."""
    turn = 16 * (np.random.default_rng([seed, index, 23]).random() - 0.5)
    paints = PAINTS[int(_spread(seed, index, stream=1) * len(PAINTS))]
    return Palette(*(oklch(light, chroma, hue + turn) for light, chroma, hue in paints))


def _spread(seed: int, index: int, *, stream: int) -> float:
    """The index-th point of a golden-ratio sequence in [0, 1): neighbors lie far apart, and no gap stays."""
    start = float(np.random.default_rng([seed, stream, 41]).random())
    return (start + index * (GOLDEN if stream == 1 else GOLDEN * (1 + stream / 7))) % 1.0


def _within(bounds: tuple[float, float], share: float) -> float:
    low, high = bounds
    return low + (high - low) * share
