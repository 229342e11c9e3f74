"""Text and JSON from outside that Postgres can store."""

import json
import re
from collections.abc import Iterator
from json import JSONDecodeError
from typing import Annotated, Any

from pydantic import AfterValidator
from umbel_files.names import normalized

# How deep a JSON document may be nested, the outermost object included: below any depth at which a version of Python,
# pydantic or Postgres gives up, and checked before any of them reads it.
DEEPEST = 64
COLLECTION_NAME = r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}"  # as the table `collection` checks it
LONGEST_OBJECT = 16_384  # characters of JSON
NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")  # as JSON spells it; after a backslash it is only text
BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)  # those in strings are matched with them


def parse_json(text: str) -> Any:
    """The value of a JSON document from outside: a body, a form field, a line of a list.

    Raises JSONDecodeError if it is not JSON, another ValueError if it cannot be stored or served.
    """
    if any(_too_deep(text)):
        raise ValueError(f"must not be nested more than {DEEPEST} levels deep")
    try:
        value = json.loads(text, parse_constant=_refuse)
    except JSONDecodeError:
        raise
    except ValueError as error:
        raise ValueError("must not contain NaN, Infinity or a number of more than 4,300 digits") from error
    if "\\u" in text:  # the only way to write what _check_plain refuses
        _check_plain(value)
    return value


def merged(value: Any, patch: Any) -> Any:
    """The JSON value after a JSON Merge Patch (RFC 7396): objects are merged, null removes a member."""
    if not isinstance(patch, dict):
        return patch
    members = value if isinstance(value, dict) else {}
    kept = {name: part for name, part in members.items() if name not in patch}
    return kept | {name: merged(members.get(name), part) for name, part in patch.items() if part is not None}


def parse_stored(data: bytes | str) -> Any:
    """The value of a stored jsonb, whatever wrote it: what `parse_json` would refuse comes as the text of its JSON."""
    text = data if isinstance(data, str) else bytes(data).decode()
    parts, end = [], 0
    for deep in _too_deep(text):
        parts += [text[end : deep.start], json.dumps(text[deep])]
        end = deep.stop
    text = "".join(parts) + text[end:]
    try:
        return json.loads(text)
    except ValueError:  # an integer of more digits than Python reads
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 4_300 else digits)


def _too_deep(text: str) -> Iterator[slice]:
    """Where the values lie that are nested too deeply."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return
    depth = start = 0
    for token in BRACKETS.finditer(text):
        if token[0] in ("[", "{"):
            depth += 1
            start = token.start() if depth == DEEPEST + 1 else start
        elif token[0] in ("]", "}"):
            if depth == DEEPEST + 1:
                yield slice(start, token.end())
            depth -= 1
    if depth > DEEPEST:  # it ends too early
        yield slice(start, len(text))


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def check_text(text: str) -> str:
    """The same text. Raises ValueError where it cannot be stored."""
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode") from error
    return text


def _check_plain(value: Any) -> str:
    """The JSON text of a value. Raises ValueError for what Postgres cannot store."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except ValueError as error:  # such as 1e999
        raise ValueError("must be plain JSON without NaN or Infinity") from error
    if NUL.search(text):
        raise ValueError("must not contain a NUL character")
    return check_text(text)


def check_object(value: dict[str, Any]) -> dict[str, Any]:
    """The same object. Raises ValueError where it cannot be stored."""
    if len(_check_plain(value)) > LONGEST_OBJECT:
        raise ValueError(f"must not be longer than {LONGEST_OBJECT:,} characters")
    return value


StorableText = Annotated[str, AfterValidator(check_text)]
# The one form of people's words that is stored and compared. Not for paths, which must stay what they are.
NormalizedText = Annotated[StorableText, AfterValidator(normalized)]
StorableObject = Annotated[dict[str, Any], AfterValidator(check_object)]
