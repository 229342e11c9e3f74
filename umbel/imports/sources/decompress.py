"""gzip, bzip2 and xz undone as the bytes arrive, with bounded memory whatever the data claims."""

import lzma
import zlib
from bz2 import BZ2Decompressor
from collections.abc import Callable, Iterator
from typing import Protocol

from umbel.base.blobs import CHUNK
from umbel.base.errors import SourceError

MOST_MEMORY = 256 * 2**20  # for xz, whose header chooses; `xz -9` needs 65 MiB


class Decompressor(Protocol):
    """The common part of bz2.BZ2Decompressor and lzma.LZMADecompressor."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class GzipDecompressor:
    """zlib's object in the same shape: it hands back the input that it had no room for, instead of keeping it."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail and not self.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


COMPRESSIONS: dict[bytes, Callable[[], Decompressor]] = {
    b"\x1f\x8b": GzipDecompressor,
    b"BZh": BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MEMORY),
}


def decompressed(packed: Iterator[bytes], new: Callable[[], Decompressor]) -> Iterator[bytes]:
    """What comes out, at most a chunk at a time; streams behind one another (`pigz`, `pbzip2`, `cat`) count as one.

    Raises SourceError where the data is damaged or ends too early; what `packed` raises passes through.
    """
    rest = b""
    while rest or (rest := _next_stream(packed)):
        unpacker = new()
        while not unpacker.eof:
            if unpacker.needs_input and not rest and not (rest := next(packed, b"")):
                raise SourceError("The compressed archive is cut short.")
            data, rest = rest, b""
            if out := _unpacked(unpacker, data):
                yield out
        rest = unpacker.unused_data.lstrip(b"\0")  # padding is allowed between streams and behind the last


def _unpacked(unpacker: Decompressor, data: bytes) -> bytes:
    try:
        return unpacker.decompress(data, CHUNK)
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise SourceError("The compressed archive is damaged.") from error


def _next_stream(packed: Iterator[bytes]) -> bytes:
    return next((data for chunk in packed if (data := chunk.lstrip(b"\0"))), b"")
