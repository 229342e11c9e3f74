"""A manifest's records, one at a time from any offset on: a CSV record may span lines, a bad one costs only itself."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from umbel.base.blobs import CHUNK
from umbel.base.errors import SourceError
from umbel.imports.sources.manifest_rows import BadRow, Row, columns_of, row_of_csv, row_of_json

LONGEST_LINE = 2**18
UTF8_BOM = b"\xef\xbb\xbf"
DELIMITERS = ",;\t"  # spreadsheets write the second where the comma is for decimals


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record begins. line: its number from 1 on; offset: in bytes."""

    line: int
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """What is at `place`, or what is wrong with it; and where the next one begins."""

    place: Place
    behind: Place
    content: Row | BadRow


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


def json_records(file: BinaryIO, at: Place | None) -> Iterator[Record]:
    lines = Lines(file, at or Place(1, 0))
    yield from _records(lines, row_of_json)


def csv_records(file: BinaryIO, at: Place | None) -> Iterator[Record]:
    """Raises SourceError when the header is not one."""
    lines = Lines(file, Place(1, 0))
    columns, delimiter = _header(lines)
    if at:
        lines.seek(at)

    def row(line: str) -> Row:
        return row_of_csv(columns, _csv_record(line, lines, delimiter))

    yield from _records(lines, row)


def _records(lines: Lines, row: Callable[[str], Row]) -> Iterator[Record]:
    """Blank lines are skipped. What goes wrong within a line ends with that line: the next one is read afresh."""
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
            content = row(line)
        except BadRow as error:
            content = error
            lines.seek(behind or lines.at)
        yield Record(place, lines.at, content)


def _csv_record(line: str, lines: Lines, delimiter: str) -> list[str]:
    """The values of the record that begins with `line`, reading on while a quoted value is open. Raises BadRow."""

    def physical() -> Iterator[str]:
        yield line
        while (following := lines.next()) is not None:
            yield following

    try:
        return next(csv.reader(physical(), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise BadRow(f"is not CSV: {error}") from error


def _header(lines: Lines) -> tuple[list[str], str]:
    try:
        line = lines.next() or ""
        delimiter = max(DELIMITERS, key=line.count)
        return columns_of(next(csv.reader(io.StringIO(line), delimiter=delimiter, strict=True), [])), delimiter
    except (BadRow, csv.Error) as error:
        raise SourceError(f"The manifest's first line is no header: it {error}.") from error
