"""A row of a list: what it says of an image, or what is wrong with it."""

import json
from collections.abc import Sequence
from json import JSONDecodeError
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from umbel_files.names import LONGEST_EXTERNAL_ID, LONGEST_LABEL, printable

from umbel.base.storable import NormalizedText, StorableObject, StorableText, parse_json
from umbel.imports.sources.manifest_csv import NAMED


class Row(BaseModel):
    """An image that a manifest names: exactly one of path and url, and what is known about it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    path: Annotated[StorableText, Field(min_length=1, max_length=4096)] | None = None
    url: Annotated[StorableText, Field(min_length=1, max_length=8192)] | None = None
    label: Annotated[NormalizedText, Field(min_length=1, max_length=LONGEST_LABEL)] | None = None
    external_id: Annotated[NormalizedText, Field(min_length=1, max_length=LONGEST_EXTERNAL_ID)] | None = None
    metadata: StorableObject = {}

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("give either a path or a url")
        return self


class BadRow(ValueError):
    """The text says what is wrong with a row, without its line."""


def row_of(columns: Sequence[str] | None, text: str) -> Row:
    """The row of a stored record (`manifest_records`). Raises BadRow."""
    if columns is None:
        return _row(_object(text, "the line"))
    values = json.loads(text)
    if isinstance(values, str):
        raise BadRow(values)
    # Nameless columns and empty values are left out; columns that are not NAMED are metadata.
    given = {column: value for column, value in zip(columns, values, strict=False) if column and value}
    metadata = _object(given.pop("metadata", "{}"), "the metadata")
    others = {column: given.pop(column) for column in list(given) if column not in NAMED}
    return _row({**given, "metadata": {**metadata, **others}})


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        value = parse_json(text)
    except JSONDecodeError as error:
        raise BadRow(f"{what} is not JSON: {error.msg} at column {error.colno}") from error
    except ValueError as error:  # what cannot be stored
        raise BadRow(f"{what} {error}") from error
    if not isinstance(value, dict):
        raise BadRow(f"{what} is not a JSON object")
    return value


def _row(fields: dict[str, Any]) -> Row:
    try:
        return Row.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where, reason = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise BadRow(f"{printable(where[:100])}: {reason}" if where else reason) from error
