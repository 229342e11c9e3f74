"""Which few images stand for all: facility location on the graph of nearest neighbors.

An image stands for another as well as the two are similar, and for those that are no neighbors not at all. So a dense
region gets an image for what it holds, a second copy gains nothing, and an image that is like no other stands for
itself alone and comes late; k-center, which asks for the farthest, would begin with those.
Source: Lindgren, Wu, Dimakis, "Leveraging Sparsity for Efficient Submodular Data Summarization", NIPS 2016.
"""

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.intp]
Shares = npt.NDArray[np.float32]

LEAST_GAIN = 1e-6  # below it everything is covered


@dataclass(frozen=True, slots=True, eq=False)
class Similarities:
    """Of n images, to whom each is similar: `others[starts[i]:starts[i + 1]]`, by `values` in [0, 1]; itself by 1.

    starts: (n + 1,); others, values: (m,). Symmetric: who lists another is listed by it.
    """

    starts: Positions
    others: Positions
    values: Shares

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, image: int) -> tuple[Positions, Shares]:
        """The images that it is similar to, and how."""
        some = slice(self.starts[image], self.starts[image + 1])
        return self.others[some], self.values[some]


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """images: positions, in the order in which they were chosen, so that any first few are a choice themselves.

    stands_for: of each, how many images it covers best, itself included; covered: (n,), of each image, how well.
    """

    images: list[int]
    stands_for: list[int]
    covered: Shares


def similarities_of(neighbors: Positions, distances: Shares) -> Similarities:
    """neighbors: (n, k), -1 where there are fewer; distances: (n, k), cosine."""
    count, width = neighbors.shape
    ones = np.repeat(np.arange(count), width)
    there = neighbors.reshape(-1) >= 0
    ones, others = ones[there], neighbors.reshape(-1)[there]
    values = (1 - distances.reshape(-1)[there]).clip(0, 1)
    itself = np.arange(count)
    pairs = np.concatenate([ones * count + others, others * count + ones, itself * count + itself])
    pairs, first = np.unique(pairs, return_index=True)
    values = np.concatenate([values, values, np.ones(count, np.float32)])[first]
    starts = np.searchsorted(pairs, np.arange(count + 1) * count)
    return Similarities(starts, pairs % max(count, 1), values.astype(np.float32))


def choose(
    similar: Similarities, count: int, *, weights: Shares, covered: Shares, candidates: npt.NDArray[np.bool_]
) -> Chosen:
    """Up to `count` candidates that together cover all images best, beyond how well they are covered already.

    weights: (n,), how much each image is to be covered; covered: (n,), by what was chosen before. Greedy, each time
    the candidate with the largest gain, which is within 1 − 1/e of the best choice. Lazy: a gain only falls, so what is
    the largest when it is looked at anew is chosen.
    Source: Minoux, "Accelerated greedy algorithms for maximizing submodular set functions", 1978.
    """
    covered = covered.copy()
    owner = np.full(len(similar), -1, np.intp)

    def gain(image: int) -> float:
        others, values = similar.of(image)
        return float((weights[others] * (values - covered[others]).clip(0)).sum())

    first = (weights[similar.others] * (similar.values - covered[similar.others]).clip(0)).astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(first)])
    bounds = sums[similar.starts[1:]] - sums[similar.starts[:-1]]
    waiting = [(-bounds[image], int(image)) for image in np.flatnonzero(candidates)]
    heapq.heapify(waiting)
    images: list[int] = []
    while waiting and len(images) < count:
        image = heapq.heappop(waiting)[1]
        gained = gain(image)
        if waiting and gained < -waiting[0][0] - LEAST_GAIN:
            heapq.heappush(waiting, (-gained, image))
            continue
        if gained < LEAST_GAIN:
            break
        others, values = similar.of(image)
        better = values > covered[others]
        covered[others[better]] = values[better]
        owner[others[better]] = len(images)
        images.append(image)
    stands_for = np.bincount(owner[owner >= 0], minlength=len(images)).tolist()
    return Chosen(images, stands_for, covered)
