"""Matches that differ from each other: maximal marginal relevance."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import numpy as np

from umbel.base.types import Vector
from umbel.search.nearest import Match


def diversify(matches: Sequence[Match], vectors: Mapping[UUID, Vector], *, k: int, diversity: float) -> list[Match]:
    """Up to k of the matches, each the best of those left: near to the query, and far from those chosen before it.

    vectors: the embeddings of the matches, (dim,) float32 of unit length; a match without one is left out. diversity:
    0 to 1, the weight of the similarity to the most similar one chosen against that to the query; 0: nearest first.
    Source: J. Carbonell and J. Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and
    Producing Summaries" (1998).
    """
    left = [match for match in matches if match.image_id in vectors]
    if not left:
        return []
    stacked = np.stack([vectors[match.image_id] for match in left])
    relevance = np.array([1 - match.distance for match in left])
    alike = np.full(len(left), -1.0)  # to the most similar one that is chosen
    open_ = np.ones(len(left), bool)
    chosen: list[Match] = []
    while len(chosen) < min(k, len(left)):
        score = (1 - diversity) * relevance - diversity * alike if chosen else relevance
        best = int(np.argmax(np.where(open_, score, -np.inf)))
        open_[best] = False
        chosen.append(left[best])
        alike = np.maximum(alike, stacked @ stacked[best])
    return chosen
