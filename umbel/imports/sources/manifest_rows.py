"""What one line of a manifest may say."""

import json
import re
from collections.abc import Sequence
from json import JSONDecodeError
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from umbel.base.errors import SourceError
from umbel.base.nesting import parse_json
from umbel.imports.sources.names import printable

NAMED = ("path", "url", "label", "metadata")
NUL = re.compile(rb"(?<!\\)(\\\\)*\\u0000")  # as JSON spells it; behind a backslash it is only text
LONGEST_METADATA = 16 * 1024  # bytes of JSON


def _clean(value: str) -> str:
    if "\0" in value:
        raise ValueError("contains a NUL character")
    if not value.isascii():
        value.encode()  # raises UnicodeEncodeError, a ValueError, on half a surrogate pair
    return value


Text = Annotated[str, AfterValidator(_clean)]


class Row(BaseModel):
    """A picture that a manifest names: exactly one of path and url, and what is known about it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    path: Annotated[Text, Field(min_length=1, max_length=4096)] | None = None
    url: Annotated[Text, Field(min_length=1, max_length=8192)] | None = None
    label: Annotated[Text, Field(min_length=1, max_length=200)] | None = None
    metadata: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("give either a path or a url")
        return self


class BadRow(ValueError):
    """The text says what is wrong with a line, without its number."""


def row_of_json(line: str) -> Row:
    """A line of JSON Lines. Raises BadRow."""
    return _row(_parsed(line, "The line"))


def row_of_csv(columns: Sequence[str], values: Sequence[str]) -> Row:
    """A record of CSV. Columns beyond the named ones are metadata; an empty value says nothing. Raises BadRow."""
    if len(values) != len(columns):
        raise BadRow(f"has {len(values)} values where the header has {len(columns)} columns")
    given = {column: value for column, value in zip(columns, values, strict=True) if value}
    metadata = _parsed(given.pop("metadata", "{}"), "The metadata")
    others = {column: given.pop(column) for column in list(given) if column not in NAMED}
    return _row({**given, "metadata": {**metadata, **others}})


def columns_of(header: Sequence[str]) -> list[str]:
    """The columns that a CSV's first line names. Raises SourceError unless there is a path or a url."""
    columns = [column.strip() for column in header]
    columns = [column.lower() if column.lower() in NAMED else column for column in columns]
    if not {"path", "url"} & set(columns):
        raise SourceError("The manifest's first line must name its columns, one of them path or url.")
    if len(set(columns)) < len(columns) or not all(columns):
        raise SourceError("The manifest's first line names a column twice or not at all.")
    return columns


def _parsed(text: str, what: str) -> dict[str, Any]:
    try:
        value = parse_json(text)
    except JSONDecodeError as error:
        raise BadRow(f"{what} is not JSON") from error
    except ValueError as error:  # nested too deeply, or a number with too many digits
        raise BadRow(f"{what} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadRow(f"{what} is not a JSON object")
    return value


def _row(fields: dict[str, Any]) -> Row:
    try:
        row = Row.model_validate(fields)
        # What a database takes as JSON is narrower than what Python does.
        text = json.dumps(row.metadata, ensure_ascii=False, allow_nan=False).encode()
    except ValidationError as error:
        first = error.errors()[0]
        where = printable(".".join(map(str, first["loc"]))[:100])
        raise BadRow(f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, ")) from error
    except ValueError as error:  # NaN, infinity, half a surrogate pair
        raise BadRow("metadata: cannot be kept as JSON") from error
    if NUL.search(text) or len(text) > LONGEST_METADATA:
        raise BadRow(f"metadata: contains a NUL character or has more than {LONGEST_METADATA:,} bytes")
    return row
