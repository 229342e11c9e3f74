"""HEIC and AVIF as boxes (ISO/IEC 14496-12), taken apart and put together."""

import struct

from tests.field.chunks import long, short


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box of ISO/IEC 14496-12."""
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full_box(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def found_box(data: bytes, kind: bytes) -> bytes:
    """The first box of this kind, wherever it lies."""
    at = data.index(kind) - 4
    return data[at : at + int.from_bytes(data[at : at + 4], "big")]


def claiming(data: bytes, width: int, height: int) -> bytes:
    """A HEIC or AVIF whose property says another size."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


def grid(source: bytes, rows: int, columns: int, *, size: tuple[int, int] | None = None) -> bytes:
    """A HEIC in tiles, as telephones write it, each the picture of `source`, of 96 × 64 pixels, and its very bytes.

    size: what it claims, else that of all tiles.
    """
    coding, tile = found_box(source, b"hvcC"), found_box(source, b"mdat")[8:]
    width, height = size or (columns * 96, rows * 64)
    layout = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)
    whole, tiles = rows * columns + 1, range(1, rows * columns + 1)
    kinds = [(n, b"hvc1") for n in tiles] + [(whole, b"grid")]
    items = b"".join(full_box(b"infe", struct.pack(">HH", n, 0), kind, b"\0", version=2) for n, kind in kinds)
    sizes = [full_box(b"ispe", struct.pack(">II", *each)) for each in ((96, 64), (width, height))]
    properties = b"".join(struct.pack(">HBBB", n, 2, 0x81, 2) for n in tiles) + struct.pack(">HBB", whole, 1, 3)

    def meta(at: int) -> bytes:
        where = b"".join(struct.pack(">HHHHII", n, 0, 0, 1, at, len(tile)) for n in tiles)
        where += struct.pack(">HHHHII", whole, 1, 0, 1, 0, len(layout))
        return full_box(
            b"meta",
            full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", short(whole, ">")),
            full_box(b"iloc", struct.pack(">HH", 0x4400, whole), where, version=1),
            full_box(b"iinf", short(whole, ">"), items),
            full_box(b"iref", box(b"dimg", struct.pack(">HH", whole, len(tiles)), *(short(n, ">") for n in tiles))),
            box(b"iprp", box(b"ipco", coding, *sizes), full_box(b"ipma", long(whole, ">"), properties)),
            box(b"idat", layout),
        )

    head = box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", tile)
