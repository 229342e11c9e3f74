"""Uploaded lists as JSON: an object a line (JSON Lines), or all of them in one array."""

import json
import re
from collections.abc import Iterator
from typing import TextIO

from umbel.base.errors import BadManifest
from umbel.base.storable import parse_json
from umbel.imports.sources.manifest_text import LONGEST_ROW, PLACES, Lines, check_text, no_place, read_text

NO_COLUMNS = "null\n"
MARK = re.compile(r"\s*(.?)\s*")  # what stands between the values of an array
WINDOW = 2 * LONGEST_ROW  # characters of an array that are in memory at least


def json_line_records(file: TextIO) -> Iterator[str]:
    """What is stored of JSON Lines: each line that is not blank, as it is.

    Raises BadManifest for what concerns more than one row: the first is taken to be like the others.
    """
    lines = Lines(file)
    yield NO_COLUMNS
    first = True
    while (line := lines.begin_row()) and (text := next(lines, "")):
        if text := text.strip("\ufeff \t\r\n"):
            if not lines.ascii:
                check_text(text, f"Line {line}")
            if first:
                _check_first(text, line)
            first = False
            yield f"{line} {text}\n"


def json_array_records(file: TextIO) -> Iterator[str]:
    """What is stored of an array: its values, with part of the file in memory at a time. Raises BadManifest."""
    array = _Array(file)
    yield NO_COLUMNS
    mark = array.take_mark("[")
    if array.follows("]"):
        return
    first = True
    while mark != "]":
        line, value = array.line, array.take_value()
        if first:
            _check_row(value, line)
        first = False
        yield f"{line} {json.dumps(value)}\n"
        mark = array.take_mark(",]")
    if not array.follows(""):
        raise array.fault("expecting the end here")


class _Array:
    """The text of an array, of which WINDOW characters from `at` on are in memory. line and column: of `at`."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._at, self._ended = file, "", 0, False
        self._decoder = json.JSONDecoder()
        self.line = self.column = 1

    def take_mark(self, expected: str) -> str:
        """Go behind the next character, which must be one of `expected`, and the space around it."""
        self._fill()
        mark = MARK.match(self._text, self._at)
        assert mark
        if not mark[1] or mark[1] not in expected:
            self._advance(mark.start(1))
            raise self.fault(f"expecting {' or '.join(expected)} here")
        self._advance(mark.end())
        return mark[1]

    def follows(self, text: str) -> bool:
        """Whether that comes next; of an empty text, whether the end does."""
        return self._text.startswith(text, self._at) if text else self._at == len(self._text)

    def take_value(self) -> object:
        """Go behind the value that begins here."""
        try:
            value, end = self._decoder.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            self._advance(error.pos)
            raise self.fault(error.msg) from error
        except (ValueError, RecursionError) as error:
            raise self.fault("the value is nested too deeply or has too long a number") from error
        if end - self._at > LONGEST_ROW:
            raise self.fault(f"the row has more than {LONGEST_ROW:,} characters")
        self._advance(end)
        return value

    def fault(self, reason: str) -> BadManifest:
        where = f"Line {self.line}, column {self.column}"
        return BadManifest(f"{where}: {reason}; a list is an array of objects, or JSON Lines.")

    def _advance(self, end: int) -> None:
        newline = self._text.rfind("\n", self._at, end)
        self.line += self._text.count("\n", self._at, end)
        self.column = end - newline if newline >= 0 else self.column + end - self._at
        self._at = end

    def _fill(self) -> None:
        rest = len(self._text) - self._at
        if self._ended or rest >= WINDOW:
            return
        more = read_text(self._file.read, 2 * WINDOW, self.line)
        if not more.isascii():
            for line, part in enumerate(more.split("\n"), self.line + self._text.count("\n", self._at)):
                check_text(part, f"Line {line}")
        self._text, self._at, self._ended = self._text[self._at :] + more, 0, not more


def _check_first(text: str, line: int) -> None:
    try:
        row = parse_json(text)
    except json.JSONDecodeError as error:
        raise BadManifest(
            f"Line {line}, column {error.colno}: {error.msg}; each line must be one whole object such as"
            ' {"path": "a.jpg", "label": "rose"}, without a comma behind it.'
        ) from error
    except ValueError:
        return  # a fault of that row alone
    _check_row(row, line)


def _check_row(row: object, line: int) -> None:
    if isinstance(row, dict) and not set(PLACES) & set(row):
        raise no_place(f"Line {line}", list(row))
