"""What is taken as JSON and how what is stored is read: alike on every Python and at any depth of the stack."""

import json
from json import JSONDecodeError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.base.storable import DEEPEST, parse_json, parse_stored

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('[]{}\\"a'), inner),
)


def nested(depth: int) -> str:
    return '{"a": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


@given(PLAIN)
def test_json_is_taken_as_it_is(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert parse_json(text) == parse_stored(text) == parse_stored(text.encode()) == value


@pytest.mark.parametrize("text", ["1", '"[[["', "[]", "{}", nested(2), nested(DEEPEST), f"[{nested(3)}, 1]"])
def test_what_is_within_the_limit_is_taken(text: str) -> None:
    parse_json(text)


@pytest.mark.parametrize(
    "many", ["[" + "[], " * 500 + "1]", '{"a": "' + "[" * 500 + '"}', r'["\"[[", ' + "[1]," * 99 + "1]"]
)
def test_many_brackets_are_no_depth(many: str) -> None:
    assert parse_json(many) == parse_stored(many) == json.loads(many)


@pytest.mark.parametrize("depth", [DEEPEST + 1, 300, 900, 5_000, 200_000])
def test_what_is_deeper_is_refused_for_that_reason(depth: int) -> None:
    for text in (nested(depth), "[" * depth, '[{"a":' * depth):
        with pytest.raises(ValueError, match="must not be nested more than 64 levels deep"):
            parse_json(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[NaN]", "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ("1" * 5_000, "4,300 digits"),
        (r'"a\u0000"', "NUL"),
        (r'{"\\\u0000": 1}', "NUL"),
        (r'"\ud83d"', "Unicode"),
        (r'{"\udca4": 1}', "Unicode"),
    ],
)
def test_what_cannot_be_stored_or_served_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(text)
    assert not isinstance(caught.value, JSONDecodeError)


@pytest.mark.parametrize("text", ["", "{", "[1,]", '"\0"', "nan", "{'a': 1}"])
def test_what_is_not_json_is_told_apart(text: str) -> None:
    with pytest.raises(JSONDecodeError):
        parse_json(text)


@pytest.mark.parametrize(
    "text", [r'"\\u0000"', r'"\ud83d\ude00"', '{"a": 1, "a": 2}', '{"": 1}', '{"$gte": 3}', str(2**70)]
)
def test_what_only_looks_odd_is_taken(text: str) -> None:
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize("depth", [DEEPEST + 1, 300, 8_000])
def test_what_is_stored_too_deeply_is_read_with_its_inside_as_text(depth: int) -> None:
    value = parse_stored(
        '{"other": {"b": 1}, "deep": ' + "[" * (depth - 1) + '"]"' + "]" * (depth - 1) + ', "last": 2}'
    )
    assert (value["other"], value["last"]) == ({"b": 1}, 2)
    inside = value["deep"]
    for _ in range(DEEPEST - 2):
        [inside] = inside
    assert inside == ["[" * (depth - DEEPEST) + '"]"' + "]" * (depth - DEEPEST)]
    assert parse_json(json.dumps(value)) == value


def test_stored_numbers_of_too_many_digits_are_read_as_text() -> None:
    assert parse_stored('{"a": [' + "9" * 5_000 + '], "b": 7}') == {"a": ["9" * 5_000], "b": 7}
