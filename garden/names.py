"""Invented names for invented flowers: pleasant, pronounceable, never the same twice."""

import numpy as np

_FIRST = (
    "amber ash aster bee birch blaze brook candle cinder clay cloud cobble copper coral crane cuckoo curlew dawn dew "
    "dove dusk ember fairy fawn feather fern finch flint fog fox frost gale glass glow goose hare harvest haze heron "
    "honey ivory jade juniper king lace lady lake lamb lantern lark linnet loch maiden maple marble mead milk mist "
    "moon moth needle north oak ocean opal otter owl pearl pepper pilgrim plover quail queen rain raven ribbon robin "
    "sable saffron satin shade shell shepherd silk silver snow sorrel sparrow spindle star sugar swan swift tansy "
    "thistle thrush thunder tide velvet vesper wax whisper widow willow winter wren"
)

_QUALIFIERS = (
    "alpine coast crown desert field fen great heath highland island lesser marsh meadow mountain noble old pale "
    "prairie river rock sand shore tall true wild wood"
)
FIRST = tuple(_FIRST.split())
QUALIFIERS = tuple(_QUALIFIERS.split())


def species_name(seed: int, index: int, nouns: tuple[str, ...]) -> str:
    """Name of the index-th species, such as "moonbell" or "marsh-moonbell"; a different one for every index.

    Each first part is used once before a qualifier is put in front; qualifiers are the digits of a number, so the
    names never run out and never repeat, whatever the nouns.
    """
    order = np.random.default_rng([seed, 1_000_003]).permutation(len(FIRST))
    rounds, place = divmod(index, len(FIRST))
    first = FIRST[order[place]]
    noun = next(
        (noun for noun in nouns[index % len(nouns) :] + nouns if noun != first and first[-1] != noun[0]), nouns[0]
    )
    return "-".join([*_qualifiers(rounds), first + noun])


def _qualifiers(rounds: int) -> list[str]:
    words: list[str] = []
    while rounds > 0:
        rounds, digit = divmod(rounds - 1, len(QUALIFIERS))
        words.insert(0, QUALIFIERS[digit])
    return words
