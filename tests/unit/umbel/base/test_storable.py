"""The limit on nesting is the same on every Python and at any depth of the caller's stack."""

import pytest

from umbel.base.storable import DEEPEST, check_depth, parse_json


def nested(depth: int) -> str:
    return '{"a": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


@pytest.mark.parametrize("text", ["1", '"[[["', "[]", "{}", nested(2), nested(DEEPEST), f"[{nested(3)}, 1]"])
def test_what_is_within_the_limit_is_taken(text: str) -> None:
    parse_json(text)


@pytest.mark.parametrize("depth", [DEEPEST + 1, 300, 900, 5_000, 200_000])
def test_what_is_deeper_is_a_value_error_whatever_python_makes_of_it(depth: int) -> None:
    with pytest.raises(ValueError, match="nested"):
        parse_json(nested(depth))


def test_a_parsed_value_of_any_depth_is_looked_at_without_recursion() -> None:
    value: list[object] = []
    for _ in range(50_000):
        value = [value]
    with pytest.raises(ValueError, match="nested"):
        check_depth(value)
