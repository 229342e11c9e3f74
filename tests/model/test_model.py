"""A short life in `make test-slow`; the long ones are `make model-test`. And the reference model by itself."""

from collections.abc import Iterator

import pytest

from tests.faults.target import Target
from tests.model.life import live
from tests.model.metadata import contains, passes, same
from tests.model.mismatch import Mismatch
from tests.model.nearest import check_matches
from tests.model.reference import Collection, Image

OPERATIONS = 300


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    try:
        yield made
    finally:
        made.remove()


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_short_life_is_as_the_model_has_it(target: Target) -> None:
    outcome = live(target, seed=2, operations=OPERATIONS)
    assert outcome.failure is None, "\n".join([*outcome.tail, outcome.failure])
    assert sum(outcome.operations.values()) == OPERATIONS
    assert outcome.images
    assert outcome.operations["restart"]


@pytest.mark.parametrize(
    ("have", "wanted", "found"),
    [
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": [1, 2]}, {"a": [2]}, True),
        ({"a": [1, 2]}, {"a": 2}, False),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
        ({}, {"a": None}, False),
        ({"a": 10**30}, {"a": 1e30}, True),
    ],
)
def test_contains_is_what_postgres_says(have: dict[str, object], wanted: dict[str, object], found: bool) -> None:
    assert contains(have, wanted) is found


def test_ranges_compare_numbers_with_numbers_and_text_with_text() -> None:
    assert passes({"metadata": {"year": {"$gte": 2020, "$lt": 2021}}}, None, {"year": 2020.5})
    assert not passes({"metadata": {"year": {"$gte": 2020}}}, None, {"year": "2021"})
    assert not passes({"metadata": {"year": {"$gte": 0}}}, None, {"year": True})
    assert same(1.5e300, 15 * 10**299)


def test_an_answer_that_leaves_out_a_nearer_image_is_a_mismatch() -> None:
    images = {name: Image(name, Collection("c"), name, b"", None, None, {}, state="indexed") for name in "abc"}
    own = {"a": 0.1, "b": 0.2, "c": 0.3}
    matches = [{"image_id": "a", "distance": 0.1}, {"image_id": "c", "distance": 0.3}]
    with pytest.raises(Mismatch, match=r"image b .* is not found"):
        check_matches(matches, own, images, k=2)
    images["b"].state = "pending"  # then it may be missing
    assert check_matches(matches, own, images, k=2) == 0
