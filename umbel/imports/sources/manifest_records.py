"""The records of a manifest, JSON Lines or CSV, read one at a time from any offset on."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Annotated, Any, BinaryIO, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from umbel_files.names import LONGEST_LABEL, printable

from umbel.base.blobs import CHUNK
from umbel.base.errors import SourceError
from umbel.base.storable import NormalizedText, StorableObject, StorableText, parse_json

NAMED = ("path", "url", "label", "metadata")
LONGEST_LINE = 2**18
UTF8_BOM = b"\xef\xbb\xbf"
DELIMITERS = ",;\t"  # spreadsheets write a semicolon where the comma is the decimal separator


class Row(BaseModel):
    """An image that a manifest names: exactly one of path and url, and what is known about it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    path: Annotated[StorableText, Field(min_length=1, max_length=4096)] | None = None
    url: Annotated[StorableText, Field(min_length=1, max_length=8192)] | None = None
    label: Annotated[NormalizedText, Field(min_length=1, max_length=LONGEST_LABEL)] | None = None
    metadata: StorableObject = {}

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("give either a path or a url")
        return self


class BadRow(ValueError):
    """The text says what is wrong with a line, without its number."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record begins. line: its number from 1 on; offset: in bytes."""

    line: int
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """The row at `place`, or what is wrong with it; and where the next record begins."""

    place: Place
    behind: Place
    content: Row | BadRow


def json_records(file: BinaryIO, at: Place | None) -> Iterator[Record]:
    """The records of JSON Lines."""
    yield from _records(Lines(file, at or Place(1, 0)), lambda line: _row(_object(line, "The line")))


def csv_records(file: BinaryIO, at: Place | None) -> Iterator[Record]:
    """The records of CSV, one of which may span lines. Raises SourceError when the header is not one."""
    lines = Lines(file, Place(1, 0))
    columns, delimiter = _header(lines)
    if at:
        lines.seek(at)
    yield from _records(lines, lambda line: _csv_row(columns, _csv_values(line, lines, delimiter)))


class Lines:
    """The lines of a file, read only as far as asked for."""

    def __init__(self, file: BinaryIO, at: Place) -> None:
        self._file = file
        self.seek(at)

    def seek(self, at: Place) -> None:
        self._file.seek(at.offset)
        self.at = at

    def next(self) -> str | None:
        """The next line; None at the end. Raises BadRow, after which the line behind comes next."""
        raw = self._file.readline(LONGEST_LINE + 1)
        if not raw:
            return None
        length, start = len(raw), raw
        while raw and not raw.endswith(b"\n"):  # the rest of a line that is too long
            raw = self._file.readline(CHUNK)
            length += len(raw)
        first = self.at.offset == 0
        self.at = Place(self.at.line + 1, self.at.offset + length)
        if length > LONGEST_LINE:
            raise BadRow(f"has more than {LONGEST_LINE:,} bytes")
        try:
            return (start.removeprefix(UTF8_BOM) if first else start).decode()
        except UnicodeDecodeError as error:
            raise BadRow("is not UTF-8") from error


def _records(lines: Lines, row_of: Callable[[str], Row]) -> Iterator[Record]:
    """Blank lines are skipped. A fault within a line ends with that line: the next one is read afresh."""
    while True:
        place, behind = lines.at, None
        content: Row | BadRow
        try:
            line = lines.next()
            behind = lines.at
            if line is None:
                return
            if not line.strip():
                continue
            content = row_of(line)
        except BadRow as error:
            content = error
            lines.seek(behind or lines.at)
        yield Record(place, lines.at, content)


def _header(lines: Lines) -> tuple[list[str], str]:
    """The columns that a CSV's first line names, and its delimiter. Raises SourceError."""
    try:
        line = lines.next() or ""
        delimiter = max(DELIMITERS, key=line.count)
        header = next(csv.reader(io.StringIO(line), delimiter=delimiter, strict=True), [])
    except (BadRow, csv.Error) as error:
        raise SourceError(f"The manifest's first line is no header: it {error}.") from error
    columns = [column.strip() for column in header]
    columns = [column.lower() if column.lower() in NAMED else column for column in columns]
    if not {"path", "url"} & set(columns):
        raise SourceError("The manifest's first line must name its columns, one of them path or url.")
    if len(set(columns)) < len(columns) or not all(columns):
        raise SourceError("The manifest's first line names a column twice or not at all.")
    return columns, delimiter


def _csv_values(line: str, lines: Lines, delimiter: str) -> list[str]:
    """The values of the record that begins with `line`, reading on while a quoted value is open. Raises BadRow."""

    def physical() -> Iterator[str]:
        yield line
        while (following := lines.next()) is not None:
            yield following

    try:
        return next(csv.reader(physical(), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise BadRow(f"is not CSV: {error}") from error


def _csv_row(columns: Sequence[str], values: Sequence[str]) -> Row:
    """The row of a CSV record. Columns that are not NAMED are metadata; empty values count as absent. Raises BadRow."""
    if len(values) != len(columns):
        raise BadRow(f"has {len(values)} values where the header has {len(columns)} columns")
    given = {column: value for column, value in zip(columns, values, strict=True) if value}
    metadata = _object(given.pop("metadata", "{}"), "The metadata")
    others = {column: given.pop(column) for column in list(given) if column not in NAMED}
    return _row({**given, "metadata": {**metadata, **others}})


def _object(text: str, what: str) -> dict[str, Any]:
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
        return Row.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where, reason = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise BadRow(f"{printable(where[:100])}: {reason}" if where else reason) from error
