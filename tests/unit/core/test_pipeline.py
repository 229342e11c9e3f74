"""Stages run ahead of one another, in order and not without bound."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.pipeline import ahead


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
