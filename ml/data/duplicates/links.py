"""Links between pictures that show the same, and the groups that they tie."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ml.data.dataset import Indices

LARGE = 10  # a group of more pictures must hang together by closer links
CLOSER = (0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Links:
    """Pairs of positions (P, 2), each pair's agreement in [0, 1] (P,) and cosine in [−1, 1] (P,)."""

    pairs: Indices
    pixel_similarity: NDArray[np.floating]
    cosine: NDArray[np.floating]

    def only(self, kept: NDArray[np.bool_]) -> "Links":
        """Those marked in kept (P,)."""
        return Links(self.pairs[kept], self.pixel_similarity[kept], self.cosine[kept])

    def __add__(self, other: "Links") -> "Links":
        return Links(
            np.concatenate([self.pairs, other.pairs]),
            np.concatenate([self.pixel_similarity, other.pixel_similarity]),
            np.concatenate([self.cosine, other.cosine]),
        )


def linked(count: int, pairs: Indices) -> Indices:
    """(count,): the number of each picture's group; two that are linked, be it through others, are in one."""
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.intp)


def without_chains(count: int, links: Links) -> Links:
    """The links that stay once large groups have lost their weak ones.

    Pictures of one layout, such as a studio's, agree a little with many others, and link by link such pairs could tie a
    whole class into one group, which no split could then divide. Copies agree closely, however many there are.
    """
    for closer in CLOSER:
        groups = linked(count, links.pairs)
        large = np.bincount(groups)[groups[links.pairs[:, 0]]] > LARGE
        links = links.only(~large | (links.pixel_similarity >= closer))
    return links
