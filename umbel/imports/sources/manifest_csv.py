"""Uploaded lists as CSV, in whichever way spreadsheets, databases and data frames of any country write it."""

import csv
import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, TextIO

from umbel.base.errors import BadManifest
from umbel.imports.sources.manifest_text import PLACES, Lines, check_text, no_place

if TYPE_CHECKING:
    from _csv import Reader

NAMED = (*PLACES, "label", "external_id", "metadata")
SEPARATORS = ",;\t|"
UNUSED = "\x1f"  # the separator where there is a single column: a comma is then part of a name
SEPARATOR_LINE = re.compile(r'("?)sep=(.*?)\1[\r\n]*', re.IGNORECASE)  # written for Excel
TYPE_LINE = "#TYPE "  # written by Export-Csv of PowerShell 5


def csv_records(file: TextIO) -> Iterator[str]:
    """What is stored of the list: its columns, nameless ones too, and each row that is not blank.

    Excel leaves out the separators behind a row's last value, so a row may have fewer values than there are columns.
    Raises BadManifest for what concerns more than one row.
    """
    lines = Lines(file)
    reader, columns = _heading(lines)
    rows = _rows(reader, lines)
    first = next(rows, (0, []))
    if len(first[1]) == len(columns) + 1 and first[1][0].isdigit() and first[1][-1].strip():
        columns = ["", *columns]  # R's write.table gives the rows' names no column
    yield json.dumps(columns) + "\n"
    width = len(columns)
    for line, row in chain([first], rows):
        if row:
            yield f"{line} {json.dumps(row if len(row) <= width or isinstance(row, str) else _cut(row, width))}\n"


def _heading(lines: Lines) -> "tuple[Reader, list[str]]":
    """A reader of the rows, and the names of their columns. Raises BadManifest."""
    line, separator = _first_line(lines)
    number, separator = lines.number, separator or _separator(line)
    spaced = 0 < line.count(separator) == line.count(f"{separator} ")  # "path, label": as people type it
    reader = csv.reader(chain([line], lines), delimiter=separator, skipinitialspace=spaced, strict=True)
    try:
        cells = next(reader)
    except csv.Error as error:
        raise BadManifest(f"Line {number}: the heading is not CSV ({error}); check its quotes.") from error
    for column, cell in enumerate(cells, 1):
        check_text(cell, f"Line {number}, column {column}")
    names = [_name(cell) for cell in cells]
    if not set(PLACES) & set(names):
        raise no_place(f"Line {number}, the heading,", [name for name in names if name])
    for column, name in enumerate(names):
        if name and (before := names.index(name)) < column:
            raise BadManifest(
                f"Line {number}: columns {before + 1} and {column + 1} are both called “{name}”; rename one of them."
            )
    return reader, names


def _first_line(lines: Lines) -> tuple[str, str | None]:
    """The line of the heading, and the separator that a line before it names, if one does. Raises BadManifest."""
    separator = None
    for line in lines:
        if found := SEPARATOR_LINE.fullmatch(line):
            separator = found[2][:1]
            if not separator or separator.isalnum() or separator in '"\0':
                raise BadManifest(f"Line {lines.number}: sep= must name a separator, such as sep=; or sep=,.")
        elif line.strip("\ufeff\t\r\n ,;|") and not line.startswith(TYPE_LINE):
            return line, separator
    raise BadManifest(f"Line {lines.number or 1}: the list has no heading; its first line must name the columns.")


def _separator(line: str) -> str:
    """The one that makes a column of `path` or `url`; of several, the one that makes the most columns."""
    columns = {each: [_name(cell) for cell in next(csv.reader([line], delimiter=each))] for each in SEPARATORS}
    best = max(SEPARATORS, key=lambda each: (bool(set(PLACES) & set(columns[each])), len(columns[each])))
    return best if len(columns[best]) > 1 else UNUSED


def _name(cell: str) -> str:
    """The name of a column, without what surrounds it; one of NAMED in whatever case is that."""
    name = cell.replace("\ufeff", "").strip()
    return name.lower() if name.lower() in NAMED else name


def _rows(reader: "Reader", lines: Lines) -> Iterator[tuple[int, list[str] | str]]:
    """Each row that is not blank, or what is wrong with it, and the line that it begins on. Raises BadManifest."""
    while True:
        line = lines.begin_row()
        try:
            row = next(reader, None)
        except csv.Error as error:
            if lines.number > line or lines.ended or "limit" in str(error):
                column = len(next(csv.reader([lines.start], reader.dialect, strict=False)))
                where = f"Line {line}, column {column}"
                raise BadManifest(f"{where}: the quote at its start is never closed; close or remove it.") from error
            yield line, f"is not CSV: {error}; within a value in quotes, a quote is written twice"
            continue
        if row is None:
            return
        if not lines.ascii:
            for column, value in enumerate(row, 1):
                check_text(value, f"Line {line}, column {column}")
        if any(map(str.strip, row)):
            yield line, row


def _cut(row: list[str], width: int) -> list[str] | str:
    """A row without the empty values behind its columns, or what is wrong with it."""
    if not any(map(str.strip, row[width:])):
        return row[:width]
    return (
        f"has {len(row)} values where the heading names {width} columns: column {width + 1} holds"
        f" “{row[width][:50]}”; put a value with a separator in it into quotes"
    )
