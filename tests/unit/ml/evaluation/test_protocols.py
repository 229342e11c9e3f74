"""Any protocol against the plainest count of what asks and what is found, one image at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.evaluation import verification as verifying
from ml.evaluation.metrics import rank
from ml.evaluation.protocol import EVERY_OTHER, Protocol
from ml.evaluation.verification import pairs_of, verification
from tests.examples import examples
from umbel.base.types import Vectors


def images(labels: np.ndarray) -> Vectors:
    vectors = np.random.default_rng(0).normal(size=(len(labels), 6))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@st.composite
def settings(draw) -> tuple[np.ndarray, Protocol]:
    """Labels, and a protocol over them: each of its parts given or not."""
    count = draw(st.integers(3, 24))
    flags = st.lists(st.booleans(), min_size=count, max_size=count).map(np.array)
    numbers = st.lists(st.integers(0, 4), min_size=count, max_size=count).map(np.array)
    asks, found = draw(st.none() | flags), draw(st.none() | flags)
    if draw(st.booleans()) and asks is not None:
        found = ~asks  # queries and a gallery
    return np.array(draw(numbers)), Protocol(asks, found, draw(st.none() | numbers))


def may_find(protocol: Protocol, query: int, other: int) -> bool:
    """Whether the image at `query` asks and may find the other."""
    asks = protocol.asks is None or protocol.asks[query]
    there = protocol.found is None or protocol.found[other]
    apart = query != other if protocol.groups is None else protocol.groups[query] != protocol.groups[other]
    return bool(asks and there and apart)


def counted(labels: np.ndarray, protocol: Protocol) -> set[tuple[int, int]]:
    """The pairs of a query and an image that it may find, each pair once, the lower position first."""
    every = ((i, j) for i in range(len(labels)) for j in range(len(labels)))
    return {(min(pair), max(pair)) for pair in every if may_find(protocol, *pair)}


def listed(kind) -> list[tuple[int, int]]:
    ends = zip(kind.first.tolist(), kind.second.tolist(), strict=True)
    return [(min(pair), max(pair)) for pair in ends]


@examples(100)
@given(settings())
def test_the_pairs_are_those_that_any_query_may_find(drawn):
    labels, protocol = drawn
    expected = counted(labels, protocol)

    found = pairs_of(images(labels), labels, protocol=protocol)

    same, different = listed(found.same), listed(found.different)
    assert not found.drawn
    assert sorted(same) == sorted(pair for pair in expected if labels[pair[0]] == labels[pair[1]])
    assert sorted(different) == sorted(pair for pair in expected if labels[pair[0]] != labels[pair[1]])
    whole = verification(images(labels), labels, protocol)
    assert (whole.same, whole.different) == (len(same), len(different))


@examples(40)
@given(settings())
def test_of_many_pairs_each_is_drawn_as_often_as_another(drawn):
    labels, protocol = drawn
    expected = counted(labels, protocol)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verifying, "ALL_UP_TO", -1)
        patch.setattr(verifying, "DRAWN", 20_000)
        found = pairs_of(images(labels), labels, seed=1, protocol=protocol)

    assert found.drawn
    for kind, agree in ((found.same, True), (found.different, False)):
        possible = {pair for pair in expected if (labels[pair[0]] == labels[pair[1]]) == agree}
        pairs, times = np.unique(np.array(listed(kind)).reshape(-1, 2), axis=0, return_counts=True)
        assert {(int(one), int(other)) for one, other in pairs} == possible
        if possible:
            mean = times.sum() / len(possible)
            assert np.abs(times - mean).max() < 6 * mean**0.5  # of thousands of pairs not one is so far off by chance


@examples(60)
@given(settings())
def test_every_query_is_answered_from_its_gallery_alone(drawn):
    labels, protocol = drawn
    vectors = images(labels)

    found = rank(vectors, labels, protocol)

    names = np.unique(labels, return_inverse=True)[1]
    for query in range(len(labels)):
        there = [other for other in range(len(labels)) if may_find(protocol, query, other)]
        there.sort(key=lambda other: -float(vectors[other] @ vectors[query]))
        relevant = sum(labels[other] == labels[query] for other in there)
        nearest = found.nearest[query][np.isfinite(found.similarity[query])]
        assert found.relevant[query] == relevant
        assert nearest.tolist() == there[: len(nearest)]
        assert len(nearest) == min(len(there), found.nearest.shape[1])
        if relevant:
            hits = names[there[:relevant]] == names[query]
            assert found.r_precision[query] == pytest.approx(hits.mean())
            expected = (hits.cumsum() / np.arange(1, relevant + 1) * hits).mean()
            assert found.average_precision[query] == pytest.approx(expected)


def test_as_many_pairs_are_drawn_of_leave_one_out_as_are_asked_for(monkeypatch):
    labels = np.arange(200) % 5
    monkeypatch.setattr(verifying, "ALL_UP_TO", 100)
    monkeypatch.setattr(verifying, "DRAWN", 5_000)

    found = pairs_of(images(labels), labels, protocol=EVERY_OTHER)

    assert len(found.same.first) == 5_000
    assert len(found.different.first) == pytest.approx(4_000, abs=200)
