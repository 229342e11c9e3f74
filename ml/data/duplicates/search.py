"""The search for duplicates: who might be a copy of whom, a coarse and a fine look at each such pair, and groups.

Candidates are proposed twice, by the embeddings and by the pictures' own signatures, since each misses what the other
finds; they are confirmed by pixels alone, so that no threshold depends on the network. Time grows with N² (two products
of matrices), memory with N.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ml.data.dataset import Dataset, Indices, groups_of_equal
from ml.data.duplicates.detail import pixel_similarity
from ml.data.duplicates.links import Links, linked, without_chains
from ml.data.duplicates.report import Finding, Leakage
from ml.data.duplicates.signatures import Signatures, Thumbs, likeness, mirrored, signatures, thumb, window_signatures
from umbel.base.types import Vectors

NEIGHBOURS = 8  # candidates that each of the two ways proposes for a picture
LIKELY = 0.55  # likeness from which a pair is worth the fine look
AGREED = 0.8  # agreement from which two pictures are near duplicates
SURE = 0.95  # likeness that no pair of different pictures was seen to have
BLOCK = 256  # pictures at once


def find_duplicates(dataset: Dataset, vectors: Vectors) -> Leakage:
    """Exact and near duplicates among all pictures of a data set, also across its classes and folders.

    vectors: (N, D) unit length, by any network; the untrained start's pooled features will do, and have not been
    taught to see all pictures of a class as one. Raises ValueError where there is not one a picture.
    """
    if len(vectors) != len(dataset.pixels):
        raise ValueError(f"{len(vectors)} embeddings were given for {len(dataset.pixels)} pictures.")
    files = groups_of_equal(dataset.sha256)
    first = np.unique(files, return_index=True)[1]  # of files of equal bytes, one is looked at
    with ThreadPoolExecutor() as pool:
        thumbs = np.stack(list(pool.map(lambda index: thumb(dataset.pixels[index]), first)))
    copies = np.flatnonzero(first[files] != np.arange(len(files)))
    near = near_links(thumbs, vectors[first])
    links = Links(np.stack([first[files[copies]], copies], 1), np.ones(len(copies)), np.ones(len(copies))) + Links(
        first[near.pairs], near.pixel_similarity, near.cosine
    )
    links = without_chains(len(files), links)
    groups = linked(len(files), links.pairs)
    return Leakage(_findings(dataset, links, groups), groups)


def near_links(thumbs: Thumbs, vectors: Vectors) -> Links:
    """The pairs of near duplicates among N pictures of different bytes."""
    whole = signatures(thumbs)
    proposed = np.concatenate([*_nearest(vectors, vectors[:, :0]), *_nearest(whole, mirrored(whole))])
    pairs = np.unique(np.sort(proposed, axis=1), axis=0)
    agreed = pixel_similarities(thumbs, pairs)
    cosine = np.einsum("pd,pd->p", vectors[pairs[:, 0]], vectors[pairs[:, 1]])
    return Links(pairs, agreed, cosine).only(agreed >= AGREED)


def pixel_similarities(thumbs: Thumbs, pairs: Indices, *, sure: float = np.inf) -> NDArray[np.float32]:
    """How well each of P pairs of N pictures agree, (P,) in [−1, 1]; −1 where a coarse look sees nothing in common.

    sure: a likeness from which a pair needs no fine look, and its likeness counts as its agreement.
    """
    whole = signatures(thumbs)
    found = _pixel_similarities(thumbs, whole, pairs, sure)
    unsure = np.flatnonzero(found < sure)
    turned = _pixel_similarities(
        thumbs, whole, pairs[unsure, ::-1], sure
    )  # either picture may be a window of the other
    found[unsure] = np.maximum(found[unsure], turned)
    return found


def quick_pixel_similarities(thumbs: Thumbs, pairs: Indices) -> NDArray[np.float32]:
    """As `pixel_similarities`, with a fine look at doubtful pairs alone: many times quicker where most are copies."""
    return pixel_similarities(thumbs, pairs, sure=SURE)


def _nearest(vectors: NDArray[np.float32], turned: NDArray[np.float32]) -> Iterator[Indices]:
    """Pairs (picture, one of the most similar others), a block of pictures at a time.

    turned: (N, D), another view of each picture that counts as well; or (N, 0).
    """
    depth = min(NEIGHBOURS, len(vectors) - 1)
    for start in range(0, len(vectors) if depth else 0, BLOCK):
        block = vectors[start : start + BLOCK]
        similarity = block @ vectors.T
        if turned.size:
            np.maximum(similarity, block @ turned.T, out=similarity)
        rows = np.arange(len(block))
        similarity[rows, start + rows] = -np.inf  # an image is no copy of itself
        nearest = np.argpartition(-similarity, depth - 1, axis=1)[:, :depth]
        yield np.stack([np.repeat(start + rows, depth), nearest.reshape(-1)], 1)
    yield np.empty((0, 2), np.intp)


def _pixel_similarities(thumbs: Thumbs, whole: Signatures, pairs: Indices, sure: float) -> NDArray[np.float32]:
    """(P,): the agreement of each pair, its second picture laid over a window of the first; −1 where none is likely."""
    found = np.full(len(pairs), -1, np.float32)
    order = np.argsort(pairs[:, 0], kind="stable")
    owners = pairs[order, 0]
    for start in range(0, len(thumbs), BLOCK):  # a picture's windows are made once, for all its pairs
        chosen = order[slice(*np.searchsorted(owners, (start, start + BLOCK)))]
        if not len(chosen):
            continue
        windows = window_signatures(thumbs[start : start + BLOCK])
        for some in np.array_split(chosen, max(1, len(chosen) // BLOCK)):
            own, other = pairs[some].T
            alike, where = likeness(windows[own - start], whole[other])
            found[some[alike >= sure]] = alike[alike >= sure]
            likely = (alike >= LIKELY) & (alike < sure)
            found[some[likely]] = pixel_similarity(thumbs[own[likely]], thumbs[other[likely]], where[likely])
    return found


def _findings(dataset: Dataset, links: Links, groups: Indices) -> list[Finding]:
    shared = np.flatnonzero(np.bincount(groups) > 1)
    found = []
    for group in shared:
        members = np.flatnonzero(groups == group)
        inside = links.only(groups[links.pairs[:, 0]] == group)
        equal = len({dataset.sha256[index] for index in members}) == 1
        found.append(
            Finding(
                members=tuple(members.tolist()),
                kind="exact" if equal else "near",
                pixel_similarity=float(inside.pixel_similarity.min()),
                cosine=float(inside.cosine.min()),
                across=len(np.unique(dataset.labels[members])) > 1,
            )
        )
    return sorted(found, key=lambda one: (not one.across, -len(one.members), one.members))
