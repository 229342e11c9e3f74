"""A gallery's embeddings in the plane: near each other there, what is similar."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from umbel.base.types import Plane, Vectors

COMPONENTS = 50
PERPLEXITY = 30.0
FITTED = 20_000  # points that push and pull one another; the others are placed among them
NEIGHBOURS = 5  # fitted ones that say where another one belongs
LEAST = 10  # points that t-SNE can do something with


def project(vectors: Vectors, seed: int = 0) -> Plane:
    """(N, D) unit vectors → (N, 2) in [0, 1], in the order given: t-SNE of their 50 principal components.

    Of more than FITTED, the first FITTED are laid out, and each other one goes where its nearest NEIGHBOURS of them
    are, weighted by nearness: bring them in random order. The same seed gives the same map on the same machine.
    Sources: van der Maaten and Hinton 2008; Linderman et al. 2019, "Fast interpolation-based t-SNE" (openTSNE).
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415 - takes a second to import
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    with threadpool_limits(1):  # the order of sums over threads would change the map
        if len(vectors) < 2 or not np.ptp(vectors, axis=0).any():
            return np.full((len(vectors), 2), 0.5, np.float32)
        fitted = vectors[:FITTED]
        axes = PCA(min(COMPONENTS, *fitted.shape), random_state=seed, svd_solver="randomized").fit(fitted)
        flat = axes.transform(fitted)
        plane = _laid_out(flat, seed)
        if len(vectors) > FITTED:
            plane = np.concatenate([plane, _placed(axes.transform, vectors[FITTED:], flat, plane)])
    return _spread(plane)


def _laid_out(flat: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """(n, c) → (n, 2)."""
    from openTSNE import TSNE  # noqa: PLC0415

    if len(flat) < LEAST:
        plane = np.zeros((len(flat), 2))
        plane[:, : min(2, flat.shape[1])] = flat[:, :2]
        return plane
    perplexity = min(PERPLEXITY, (len(flat) - 1) / 3)
    fit = TSNE(perplexity=perplexity, initialization="pca", random_state=seed, n_jobs=1).fit(flat)
    return np.asarray(fit, np.float64)


def _placed(
    transform: Callable[[Vectors], NDArray[np.float32]],
    others: Vectors,
    flat: NDArray[np.float32],
    plane: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Where the others belong among those that are laid out."""
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415

    distances, nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(flat).kneighbors(transform(others))
    weights = 1 / np.maximum(distances, 1e-6)
    placed: NDArray[np.float64] = (plane[nearest] * weights[..., None]).sum(1) / weights.sum(1, keepdims=True)
    return placed


def _spread(plane: NDArray[np.float64]) -> Plane:
    """Scaled into [0, 1], each axis half by value and half by rank: clusters grow into the emptiness between them."""
    span = np.ptp(plane, axis=0)
    scaled = (plane - plane.min(0)) / np.where(span > 0, span, 1)
    ranks = np.argsort(np.argsort(plane, axis=0, kind="stable"), axis=0) / (len(plane) - 1)
    return np.where(span > 0, (scaled + ranks) / 2, 0.5).astype(np.float32)
