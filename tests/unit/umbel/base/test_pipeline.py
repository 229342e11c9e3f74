"""Stages run ahead of one another, in order and not without bound."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.base.pipeline import ahead, map_ahead


@given(st.lists(st.integers()))
def test_items_come_in_order_and_complete(items: list[int]) -> None:
    assert list(ahead(ahead(items))) == items


def test_the_next_item_is_computed_while_this_one_is_used() -> None:
    computed = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        computed.set()
        yield 2

    stage = ahead(items())
    next(stage)
    assert computed.wait(5)
    assert next(stage) == 2


def test_no_more_than_one_item_waits() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    stage = ahead(items())
    next(stage)
    next(stage)
    stage.close()  # type: ignore[attr-defined]
    assert len(taken) <= 3


def test_an_error_arrives_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    stage = ahead(items())
    assert next(stage) == 1
    with pytest.raises(ValueError, match="broken"):
        next(stage)


@given(st.lists(st.integers()), st.integers(1, 4))
def test_several_results_at_once_are_complete(items: list[int], at_once: int) -> None:
    assert sorted(map_ahead(lambda item: item + 1, items, at_once=at_once)) == sorted(item + 1 for item in items)


def test_so_many_are_made_at_once_and_no_more() -> None:
    both = threading.Barrier(2, timeout=5)
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item < 2:
            both.wait()  # until the other is being made, too
        return item

    results = map_ahead(work, range(100), at_once=2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(begun) <= 3
