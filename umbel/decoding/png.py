"""The chunks of a PNG: whether it will decode, and the same picture without what only describes it.

Source: W3C, Portable Network Graphics (PNG) Specification (Third Edition), sections 5 and 11.
"""

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SHAPING = (b"tRNS",)  # the ancillary chunk without which the pixels would be others
LONGEST = 4 * 2**20  # bytes of a text or profile that are unpacked; pictures do without longer ones
PROBED = 2**16  # bytes of compressed pixels in which the first row is looked for
BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by type of color


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end (of the whole chunk) of each that is there completely."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            return
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end


def _is_whole(data: bytes, start: int, end: int) -> bool:
    return zlib.crc32(memoryview(data)[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")


def will_decode(data: bytes) -> bool:
    """Whether the file is whole by its checksums, and its first row can be unpacked."""
    pixels, last, row = b"", b"", 0
    for kind, start, end in _chunks(data):
        if not _is_whole(data, start, end) or (kind != b"IDAT" and end - start > LONGEST):
            return False
        if kind == b"IHDR":
            if not _is_header(data[start + 8 : end - 4]):
                return False
            row = _row(data[start + 8 : end - 4])
        if kind == b"IDAT" and len(pixels) < PROBED:
            pixels += data[start + 8 : min(end - 4, start + 8 + PROBED)]
        last = kind
    try:
        return last == b"IEND" and 0 < row == len(zlib.decompressobj().decompress(pixels, row))
    except zlib.error:
        return False


def _is_header(header: bytes) -> bool:
    if len(header) != 13:
        return False
    bits, color, compression, filters, interlace = header[8:]
    return bits in BITS.get(color, ()) and (compression, filters) == (0, 0) and interlace in (0, 1)


def _row(header: bytes) -> int:
    """Bytes of the picture's first row, its filter included; of an interlaced one, at most of an eighth of it."""
    width, _, bits, color, *_, interlaced = struct.unpack(">IIBBBBB", header)
    channels = {2: 3, 4: 2, 6: 4}.get(color, 1)
    return 1 + (-(-width // (8 if interlaced else 1)) * channels * bits + 7) // 8


def without_extras(data: bytes) -> bytes:
    """The picture without texts, profiles, EXIF and whatever else is damaged or too long without being the picture."""
    kept = [SIGNATURE]
    end = len(SIGNATURE)
    for kind, start, end in _chunks(data):
        critical = kind[:1].isupper()
        if critical or (kind in SHAPING and _is_whole(data, start, end)) or _is_profile(data, kind, start, end):
            kept.append(data[start:end])
    return b"".join((*kept, data[end:]))  # a chunk that is cut short


def _is_profile(data: bytes, kind: bytes, start: int, end: int) -> bool:
    """Whether the chunk is EXIF or a whole color profile of a length that is read."""
    if kind not in (b"iCCP", b"eXIf") or not _is_whole(data, start, end):
        return False
    if kind == b"eXIf":
        return end - start < LONGEST
    name_ends = data.find(b"\0", start + 8, end)
    try:
        return len(zlib.decompressobj().decompress(data[name_ends + 2 : end - 4], LONGEST + 1)) <= LONGEST
    except zlib.error:
        return False
