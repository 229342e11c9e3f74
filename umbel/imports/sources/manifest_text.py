"""The text of an uploaded list: its encoding and its lines."""

import codecs
import io
import re
from collections.abc import Callable, Iterator
from typing import TextIO

from umbel_files.names import printable

from umbel.base.blobs import CHUNK
from umbel.base.errors import BadManifest, UnsupportedManifest

PLACES = ("path", "url")
LONGEST_ROW = 2**18  # characters
ENCODINGS = {  # by the mark that they begin with
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
UNDECODED = re.compile(r"[\ud800-\udfff]")  # surrogates stand for what is not in the encoding
SAVE_AS = "save the list as UTF-8 (Excel: “CSV UTF-8”)"


def decoded(chunks: Iterator[bytes], start: bytes) -> tuple[TextIO, str]:
    """The text of a list as a file that keeps line ends as they are, and how it begins.

    chunks: all of it; start: its first bytes. `check_text` finds what could not be decoded. Raises UnsupportedManifest.
    """
    encoding = _encoding(start)
    head = start.decode(encoding, "replace").lstrip()
    if not head or "\0" in head:
        raise UnsupportedManifest("The list is empty or not text: save it as CSV (UTF-8) or JSON Lines.")
    errors = "surrogateescape" if encoding.startswith("utf-8") else "surrogatepass"
    return io.TextIOWrapper(io.BufferedReader(_Raw(chunks), CHUNK), encoding, errors, newline=""), head


def check_text(text: str, where: str) -> None:
    """Raises BadManifest for what could not be decoded. where: for the reader of the error."""
    if found := UNDECODED.search(text):
        code = ord(found[0])
        what = f"the byte 0x{code - 0xDC00:02X} is not UTF-8" if 0xDC80 <= code <= 0xDCFF else "half a character"
        raise BadManifest(f"{where}: {what}; {SAVE_AS}.")


def read_text(read: Callable[[int], str], size: int, line: int) -> str:
    """What `read` gives. Raises BadManifest where that cannot be decoded. line: where it begins."""
    try:
        return read(size)
    except UnicodeDecodeError as error:  # only UTF-16 and UTF-32 have these
        raise BadManifest(f"Line {line} or later: not {error.encoding} ({error.reason}); {SAVE_AS}.") from error


class Lines:
    """The lines of a list, with their ends. number: of the last one, from 1 on; ended: there are no more.

    start: the first line of the row; ascii: whether all of the row so far is, and so decoded without doubt.

    Raises BadManifest for a row, of one line or several, that is too long.
    """

    def __init__(self, file: TextIO) -> None:
        self._file, self._row, self._length = file, 1, 0
        self.number, self.ended, self.ascii, self.start = 0, False, True, ""

    def begin_row(self) -> int:
        """Say that the next line begins a row. Returns that line's number."""
        self._row, self._length, self.ascii = self.number + 1, 0, True
        return self._row

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = read_text(self._file.readline, LONGEST_ROW + 1, self.number + 1)
        if not line:
            self.ended = True
            raise StopIteration
        self.number += 1
        self.start = self.start if self._length else line
        self._length += len(line)
        self.ascii = self.ascii and line.isascii()
        if self._length > LONGEST_ROW:
            raise BadManifest(f"Line {self._row}: the row has more than {LONGEST_ROW:,} characters; shorten it.")
        return line


def no_place(where: str, names: list[str]) -> BadManifest:
    """The error of a list that has other names in place of `path` and `url`."""
    shown = ", ".join(f"“{printable(name)[:50]}”" for name in names[:20]) + (" …" if len(names) > 20 else "")
    call = "Call the names of the files path, web addresses url."
    return BadManifest(f"{where} has neither path nor url, but {shown or 'nothing'}. {call}")


def _encoding(start: bytes) -> str:
    for mark, encoding in ENCODINGS.items():
        if start.startswith(mark):
            return encoding
    # Without a mark, the zeros in text that begins with ASCII tell.
    zeros = [byte == 0 for byte in start[:4]]
    return "utf-16-le" if zeros == [False, True] * 2 else "utf-16-be" if zeros == [True, False] * 2 else "utf-8"


class _Raw(io.RawIOBase):
    """Chunks of bytes as an unbuffered file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        self._rest = self._rest or memoryview(next(self._chunks, b""))
        given, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(given)] = given
        return len(given)
