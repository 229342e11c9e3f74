"""Who asks, and who can be found: leave-one-out over a set, or queries against a gallery of others."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Protocol:
    """Over N images. asks, found: (N,), which are queries, and which are in the gallery; None: all are.

    groups: (N,), numbers of duplicate groups: an image never finds one of its own group; None: only itself.
    """

    asks: Flags | None = None
    found: Flags | None = None
    groups: Indices | None = None

    @property
    def is_leave_one_out(self) -> bool:
        """Whether every image is a query against all others."""
        return self.asks is None and self.found is None and self.groups is None

    def queries(self, images: int) -> Indices:
        """The positions of those that ask, rising."""
        return np.flatnonzero(self.asking(images))

    def asking(self, images: int) -> Flags:
        """(N,): which are queries."""
        return np.ones(images, bool) if self.asks is None else self.asks

    def in_gallery(self, images: int) -> Flags:
        """(N,): which can be found."""
        return np.ones(images, bool) if self.found is None else self.found

    def group_numbers(self, images: int) -> Indices:
        """(N,): the number of each image's group, from 0; that of an image without one is its own."""
        return np.arange(images) if self.groups is None else np.unique(self.groups, return_inverse=True)[1]

    def may_find(self, rows: Indices, images: int) -> Flags:
        """(B, N): which of all images each of the queries at these positions may find."""
        own = np.arange(images) if self.groups is None else self.groups
        return self.in_gallery(images) & (own != own[rows, None])

    def relevant(self, labels: NDArray[np.integer]) -> Indices:
        """(N,): how many images of its class a query may find; 0 for an image that does not ask. labels: from 0."""
        images = len(labels)
        found, own = self.in_gallery(images), self.group_numbers(images)
        group_of_class = labels * (own.max(initial=0) + 1) + own
        number = np.unique(group_of_class, return_inverse=True)[1]
        count = np.bincount(labels[found], minlength=labels.max(initial=-1) + 1)[labels]
        count -= np.bincount(number[found], minlength=number.max(initial=-1) + 1)[number]  # those of its own group
        return np.where(self.asking(images), count, 0)


EVERY_OTHER = Protocol()
