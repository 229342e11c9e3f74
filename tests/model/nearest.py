"""A search by exact recomputation, and whether an answer is one that it allows: ties may come in any order."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.model.mismatch import Mismatch
from tests.model.reference import Image

SINGLE = 2e-5  # what sums in single precision, as Postgres has them, may differ by


def as_stored(values: Sequence[float]) -> NDArray[np.float32]:
    """A caller's vector as the service searches with it: of unit length, in half precision."""
    vector = np.asarray(values, np.float64)
    return (vector / np.linalg.norm(vector)).astype(np.float32).astype(np.float16).astype(np.float32)


def distances(query: NDArray[np.float32], vectors: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
    """The cosine distance of each to the query."""
    if not vectors:
        return {}
    stacked = np.stack(list(vectors.values())).astype(np.float64)
    exact = query.astype(np.float64)
    cosines = stacked @ exact / np.linalg.norm(stacked, axis=1) / np.linalg.norm(exact)
    return dict(zip(vectors, (1 - cosines).clip(0, 2).tolist(), strict=True))


def check_matches(
    matches: Sequence[Mapping[str, Any]],
    own: Mapping[str, float],
    candidates: Mapping[str, Image],
    *,
    k: int,
    max_distance: float | None = None,
    slack: float = SINGLE,
    exact: bool = True,
) -> int:
    """Raise Mismatch unless `matches` are the k nearest. Returns how many of them are missing, which an index may do.

    own: the distance of each candidate that has a vector; those that are still `pending` may be found or not.
    """
    found = [match["image_id"] for match in matches]
    told = [match["distance"] for match in matches]
    if len(set(found)) != len(found):
        raise Mismatch(f"an image is found twice: {found}", *found)
    # Rounding may take a distance below zero, where it is told as zero: those are in the order of what they were.
    placed = [(distance, image_id if distance else "") for distance, image_id in zip(told, found, strict=True)]
    if sorted(placed) != placed:
        raise Mismatch(f"the matches are not in order: {placed}")
    most = 2.0 if max_distance is None else max_distance
    for image_id, distance in zip(found, told, strict=True):
        if image_id not in candidates:
            raise Mismatch(f"image {image_id} is found, which is none of the candidates", image_id)
        if image_id not in own:
            raise Mismatch(f"image {image_id} is found, which has no vector", image_id)
        if abs(own[image_id] - distance) > slack or distance > most:
            raise Mismatch(f"image {image_id} is at {distance}, and by the model at {own[image_id]}", image_id)
    must = {each: one for each, one in own.items() if candidates[each].state == "indexed" and one < most - slack}
    if len(found) > k or (len(found) < min(k, len(must)) and (exact or max_distance is None)):
        missing = sorted(must.keys() - set(found), key=must.__getitem__)
        raise Mismatch(
            f"{len(found)} are found of {len(must)} candidates, k is {k}; missing: {missing[:5]}", *missing[:5]
        )
    edge = told[-1] if len(found) == k else most
    missed = [each for each, one in must.items() if each not in found and one < edge - 2 * slack]
    if missed and exact:
        nearest = min(missed, key=must.__getitem__)
        raise Mismatch(f"image {nearest} at {must[nearest]} is not found; the last match is at {edge}", nearest)
    return len(missed)
