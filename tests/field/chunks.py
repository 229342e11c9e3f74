"""The parts that picture files are made of, taken apart and put together: JPEG segments, PNG and WebP chunks, TIFF."""

import struct
import zlib
from collections.abc import Iterable, Sequence

PNG_START = b"\x89PNG\r\n\x1a\n"
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 13: 4}  # bytes of a value of each TIFF type

Entry = tuple[int, int, int, bytes]
"""tag, type, count, value"""


def segment(marker: int, payload: bytes) -> bytes:
    """A JPEG segment; payload: at most 65,533 bytes."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def after_start(jpeg: bytes, *parts: bytes) -> bytes:
    """A JPEG with `parts` behind its start-of-image marker."""
    return jpeg[:2] + b"".join(parts) + jpeg[2:]


def scan_start(jpeg: bytes) -> int:
    """Where the entropy-coded bytes of the first scan begin."""
    at = 2
    while jpeg[at + 1] != 0xDA:
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")


def png_chunk(kind: bytes, payload: bytes, *, crc: int | None = None) -> bytes:
    right = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", right if crc is None else crc)


def png_chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and payload of each chunk."""
    found, at = [], len(PNG_START)
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def with_png_chunk(png: bytes, chunk: bytes, *, after: bytes = b"IHDR") -> bytes:
    """A PNG with one more chunk behind the last one of the kind `after`."""
    chunks = png_chunks(png)
    last = max(number for number, (kind, _) in enumerate(chunks) if kind == after)
    parts = [png_chunk(*each) for each in chunks]
    return PNG_START + b"".join([*parts[: last + 1], chunk, *parts[last + 1 :]])


def riff_chunks(webp: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 12
    while at + 8 <= len(webp):
        length = int.from_bytes(webp[at + 4 : at + 8], "little")
        found.append((webp[at : at + 4], webp[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return found


def riff(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A WebP of these chunks."""
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def ifd(entries: Sequence[Entry], *, order: str = "<", at: int = 8, following: int = 0) -> bytes:
    """An image file directory of TIFF and EXIF at this offset, and the values that do not fit into it behind it."""
    head, tail = struct.pack(order + "H", len(entries)), b""
    beyond = at + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        head += struct.pack(order + "HHI", tag, kind, count)
        if len(value) > 4:
            head += struct.pack(order + "I", beyond + len(tail))
            tail += value + b"\0" * (len(value) % 2)
        else:
            head += value.ljust(4, b"\0")
    return head + struct.pack(order + "I", following) + tail


def tiff_header(order: str = "<", *, first: int = 8) -> bytes:
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first)


def short(value: int, order: str = "<") -> bytes:
    return struct.pack(order + "H", value)


def long(value: int, order: str = "<") -> bytes:
    return struct.pack(order + "I", value)


def tiff(pixels: bytes, size: tuple[int, int], extra: Sequence[Entry] = ()) -> bytes:
    """An uncompressed RGB TIFF of one strip; extra: entries in place of and beside those that it needs."""
    width, height = size
    entries = {
        256: (256, 4, 1, long(width)),
        257: (257, 4, 1, long(height)),
        258: (258, 3, 3, short(8) * 3),
        259: (259, 3, 1, short(1)),
        262: (262, 3, 1, short(2)),
        273: (273, 4, 1, long(8)),
        277: (277, 3, 1, short(3)),
        278: (278, 4, 1, long(height)),
        279: (279, 4, 1, long(len(pixels))),
    } | {entry[0]: entry for entry in extra}
    at = 8 + len(pixels)
    return tiff_header(first=at) + pixels + ifd([entries[tag] for tag in sorted(entries)], at=at)
