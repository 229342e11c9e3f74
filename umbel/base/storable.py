"""Text and JSON from outside that Postgres can store."""

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator

# A limit of our own, below any at which Python or Postgres gives up: the depth at which Python raises RecursionError
# differs by version and by caller.
DEEPEST = 32  # objects and lists, the outermost included
COLLECTION_NAME = r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}"  # as the table `collection` checks it
LONGEST_OBJECT = 16_384  # characters of JSON
NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")  # as JSON spells it; after a backslash it is only text


def parse_json(text: str) -> Any:
    """The value of JSON text. Raises ValueError if it is not JSON or nested too deeply."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"must not be nested more than {DEEPEST} levels deep") from error
    check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """Raises ValueError if a parsed JSON value is nested too deeply. Does not recurse."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    if any(isinstance(each, dict | list) for each in level):
        raise ValueError(f"must not be nested more than {DEEPEST} levels deep")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _check_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode") from error
    return text


def _check_object(value: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except ValueError as error:
        raise ValueError("must be plain JSON without NaN or Infinity") from error
    if NUL.search(text):
        raise ValueError("must not contain a NUL character")
    if len(_check_text(text)) > LONGEST_OBJECT:
        raise ValueError(f"must not be longer than {LONGEST_OBJECT:,} characters")
    return value


StorableText = Annotated[str, AfterValidator(_check_text)]
StorableObject = Annotated[dict[str, Any], AfterValidator(_check_object)]
