"""EXIF and XMP blocks, whole and damaged, in every kind of file that has them."""

from collections.abc import Callable

from tests.field.chunks import (
    after_start,
    ifd,
    long,
    png_chunk,
    riff,
    riff_chunks,
    segment,
    short,
    tiff,
    tiff_header,
    with_png_chunk,
)
from tests.field.inputs import Input, jpeg, media_type, png, webp
from tests.images import opened

ORIENTATION, EXIF_IFD, GPS_IFD = 0x0112, 0x8769, 0x8825
WIDE, HIGH = (96, 64), (64, 96)


def block(*entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    return tiff_header(order) + ifd(entries, order=order)


def turned(orientation: int, order: str = "<") -> bytes:
    """A whole block that says nothing but this."""
    return block((ORIENTATION, 3, 1, short(orientation, order)), order=order)


def xmp(orientation: int) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="'
        f'{orientation}"/></rdf:RDF></x:xmpmeta>'
    ).encode()


DAMAGED = {
    "empty": b"",
    "short": b"II*\0",
    "zeros": bytes(64),
    "garbage": bytes(range(7, 250, 9)),
    "text": b"b'Exif\\x00\\x00II*\\x00\\x08\\x00\\x00\\x00'",  # what repr() makes of one
    "double header": b"Exif\0\0" + turned(1),
    "offset beyond the end": tiff_header(first=90_000) + bytes(4),
    "offset into the header": tiff_header(first=0) + bytes(40),
    "cut in the middle": turned(1)[:15],
    "65,535 entries": tiff_header() + short(65_535) + bytes(60),
    "leads to itself": tiff_header() + ifd([(ORIENTATION, 3, 1, short(1))], following=8),
    "sub-directory leads to itself": block((EXIF_IFD, 4, 1, long(8))),
    "sub-directory beyond the end": block((EXIF_IFD, 4, 1, long(2**31)), (GPS_IFD, 4, 1, long(2**32 - 1))),
    "sub-directory is text": block((EXIF_IFD, 2, 4, b"abc\0")),
    "4 billion values": block((0x010F, 2, 2**32 - 1, long(8)), (0x927C, 7, 2**31, long(8))),
    "unknown type": block((ORIENTATION, 99, 1, short(1)), (0x0131, 0, 7, bytes(4))),
    "division by zero": block((0x011A, 5, 1, bytes(8)), (0x011B, 10, 1, long(1) + long(0))),
    "no UTF-8": block((0x010F, 2, 9, b"caf\xe9 \xff\xfe \0")),
    "wrong order": b"MM\0*" + turned(1)[4:],
    "big TIFF": b"II+\0\x08\0\0\0" + bytes(16),
    "other magic": b"IIRO\x08\0\0\0" + bytes(16),
}

ODD_ORIENTATIONS = {
    "0": turned(0),
    "9": turned(9),
    "65535": turned(65_535),
    "as text": block((ORIENTATION, 2, 2, b"6\0")),
    "as a byte": block((ORIENTATION, 1, 1, b"\x06")),
    "as a long": block((ORIENTATION, 4, 1, long(6))),
    "as a rational": block((ORIENTATION, 5, 1, long(6) + long(1))),
    "as a fraction of zero": block((ORIENTATION, 5, 1, long(6) + long(0))),
    "as a float": block((ORIENTATION, 11, 1, b"\0\0\xc0\x40")),
    "twice": block((ORIENTATION, 3, 2, short(6) + short(1))),
    "none at all": block((ORIENTATION, 3, 0, bytes(4))),
    "in big-endian": turned(6, ">"),
    "in both directories": tiff_header()
    + ifd([(ORIENTATION, 3, 1, short(6))], following=26)
    + ifd([(ORIENTATION, 3, 1, short(1))], at=26),
}


def into_jpeg(block: bytes, seed: int) -> bytes:
    return after_start(jpeg(seed), segment(0xE1, b"Exif\0\0" + block))


def into_png(block: bytes, seed: int) -> bytes:
    return with_png_chunk(png(seed), png_chunk(b"eXIf", block))


def into_webp(block: bytes, seed: int) -> bytes:
    width, height = (side - 1 for side in WIDE)
    extended = b"\x08\0\0\0" + width.to_bytes(3, "little") + height.to_bytes(3, "little")
    return riff([(b"VP8X", extended), *riff_chunks(webp(seed)), (b"EXIF", block)])


def into_tiff(block: bytes, seed: int) -> bytes:
    """A TIFF is EXIF itself: the block lies behind the pixels, and the tag of the EXIF directory leads to it."""
    pixels = opened(png(seed)).convert("RGB").tobytes()
    return tiff(pixels + block, WIDE, [(EXIF_IFD, 4, 1, long(8 + len(pixels)))])


INTO: dict[str, Callable[[bytes, int], bytes]] = {
    "jpg": into_jpeg,
    "png": into_png,
    "webp": into_webp,
    "tiff": into_tiff,
}


def damaged() -> list[Input]:
    """Every damage in every kind of file: taken as if the block were not there."""
    return [
        Input(f"exif {what}.{suffix}", into(block, 1000 + number), media_type(f".{suffix}"), size=WIDE)
        for suffix, into in INTO.items()
        for number, (what, block) in enumerate(DAMAGED.items())
    ]


def orientations() -> list[Input]:
    """Turned in the usual place, and in unusual ones and ways, of which only the size told must fit what is shown."""
    usual = [
        Input(f"turned by {n}.{suffix}", INTO[suffix](turned(n), 1100 + n), media_type(f".{suffix}"), size=size)
        for suffix in ("jpg", "png", "webp")
        for n, size in ((3, WIDE), (5, HIGH), (6, HIGH), (8, HIGH))
    ]
    odd = [
        Input(f"orientation {what}.{suffix}", INTO[suffix](block, 1200 + number), media_type(f".{suffix}"))
        for suffix in ("jpg", "png", "webp")
        for number, (what, block) in enumerate(ODD_ORIENTATIONS.items())
    ]
    return [*usual, *odd, *unusual_places()]


def unusual_places() -> list[Input]:
    pixels = opened(png(1300)).convert("RGB").tobytes()
    raw = b"\nexif\n%8d\n" % (6 + len(turned(6))) + (b"Exif\0\0" + turned(6)).hex().encode() + b"\n"
    international = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6)
    adobe = b"http://ns.adobe.com/xap/1.0/\0"
    exif_6, xmp_8 = segment(0xE1, b"Exif\0\0" + turned(6)), segment(0xE1, adobe + xmp(8))
    files = {
        "XMP only.jpg": after_start(jpeg(1301), segment(0xE1, adobe + xmp(6))),
        "XMP only.png": with_png_chunk(png(1302), png_chunk(b"iTXt", international)),
        "XMP against EXIF.jpg": after_start(jpeg(1303), exif_6, xmp_8),
        "EXIF twice.jpg": after_start(jpeg(1304), segment(0xE1, b"Exif\0\0" + turned(1)), exif_6),
        "eXIf after the pixels.png": with_png_chunk(png(1305), png_chunk(b"eXIf", turned(6)), after=b"IDAT"),
        "XMP after the pixels.png": with_png_chunk(png(1306), png_chunk(b"iTXt", international), after=b"IDAT"),
        "raw profile.png": with_png_chunk(png(1307), png_chunk(b"tEXt", b"Raw profile type exif\0" + raw)),
        "raw profile after the pixels.png": with_png_chunk(
            png(1308), png_chunk(b"tEXt", b"Raw profile type exif\0" + raw), after=b"IDAT"
        ),
    }
    in_tiff = [
        Input(f"turned by {n}.tiff", tiff(pixels, WIDE, [(ORIENTATION, 3, 1, short(n))]), "image/tiff", size=size)
        for n, size in ((3, WIDE), (6, HIGH), (8, HIGH), (9, WIDE))
    ]
    return [*(Input(name, data, media_type(name)) for name, data in files.items()), *in_tiff]
