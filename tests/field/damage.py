"""Files that are cut short, have bytes where none belong, or say wrong things about themselves.

What every viewer shows, if only in part, is taken.
"""

import zlib
from collections.abc import Callable

from tests.field.chunks import (
    after_start,
    png_chunk,
    png_chunks,
    riff,
    riff_chunks,
    scan_start,
    segment,
    with_png_chunk,
)
from tests.field.inputs import Input, jpeg, png, saved, taken, webp
from tests.images import image_bytes, opened

LARGE = (400, 300)
END = b"\xff\xd9"
FILM = (
    b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\x10\0mdat" + bytes(range(256)) * 15
)  # behind Google's motion photos


def cut(data: bytes, share: float) -> bytes:
    return data[: round(len(data) * share)]


def jpegs() -> list[Input]:
    """Baseline and progressive, with the end gone at many places or something behind it."""
    whole = {
        "baseline": lambda seed: jpeg(seed, size=LARGE),
        "progressive": lambda seed: jpeg(seed, size=LARGE, progressive=True),
        "gray": image_in_gray,
    }
    ends: dict[str, Callable[[bytes], bytes]] = {
        "no end of image": lambda data: data[:-2],
        "half the end of image": lambda data: data[:-1],
        "16 bytes gone": lambda data: data[:-16],
        "90 percent": lambda data: cut(data, 0.9),
        "half": lambda data: data[: scan_start(data) + (len(data) - scan_start(data)) // 2],
        "end in zeros": lambda data: data[:-2] + bytes(4096),
        "trailing zeros": lambda data: data + bytes(65_536),
        "trailing film": lambda data: data + FILM,
        "trailing text": lambda data: data + b"</body></html>",
        "trailing picture": lambda data: data + jpeg(1),
    }
    found = [
        (f"{kind} {what}.jpg", change(make(2000 + 20 * number + each)))
        for number, (kind, make) in enumerate(whole.items())
        for each, (what, change) in enumerate(ends.items())
    ]
    return taken([*found, *odd_jpegs()])


def image_in_gray(seed: int) -> bytes:
    return saved(opened(png(seed, size=LARGE)).convert("L"), "JPEG")


def odd_jpegs() -> list[tuple[str, bytes]]:
    """Junk between segments, which libjpeg passes over with a warning, and segments that say nonsense."""
    long_comment = segment(0xFE, b"x" * 65_000)
    all_segments = [segment(0xE0 + n, bytes(range(9))) for n in range(16)]
    photoshop = segment(0xED, b"Photoshop 3.0\08BIM\x04\x04\0\0\xff\xff\xff\xff")
    tables = jpeg(2101)
    at = scan_start(tables)
    restarts = jpeg(2102, size=LARGE, restart_marker_rows=1)
    lost = restarts.find(b"\xff\xd3")
    return [
        ("junk before a marker.jpg", (plain := jpeg(2100))[:20] + b"\0\x13junk" + plain[20:]),  # behind JFIF's segment
        ("fill bytes before a marker.jpg", after_start(jpeg(2103), b"\xff" * 200)),
        ("a hundred comments.jpg", after_start(jpeg(2104), long_comment * 100)),
        ("garbage in APP segments.jpg", after_start(jpeg(2105), *all_segments)),
        ("garbage in the scan.jpg", tables[: at + 200] + bytes(range(1, 60)) + tables[at + 259 :]),
        ("a lost restart marker.jpg", restarts[:lost] + restarts[lost + 2 :]),
        ("broken MPF index.jpg", after_start(jpeg(2106), segment(0xE2, b"MPF\0II*\0\xff\xff\xff\x7f" + bytes(20)))),
        ("short MPF index.jpg", after_start(jpeg(2107), segment(0xE2, b"MPF\0"))),
        ("broken Photoshop block.jpg", after_start(jpeg(2108), photoshop)),
        ("short JFIF.jpg", after_start(jpeg(2109), segment(0xE0, b"JFIF\0"))),
        ("short Adobe.jpg", after_start(jpeg(2110), segment(0xEE, b"Adobe"))),
    ]  # fmt: skip


def pngs() -> list[Input]:
    """Wrong checksums where nothing is lost by it, long text, no end."""
    text = b"Comment\0" + b"x" * 100
    found = [
        ("no IEND.png", png(2200)[:-12]),
        ("half an IEND.png", png(2201)[:-6]),
        ("wrong CRC of IEND.png", png(2202)[:-4] + bytes(4)),
        ("wrong CRC of text.png", with_chunk(2203, b"tEXt", text, crc=1)),
        ("wrong CRC of compressed text.png", with_chunk(2204, b"zTXt", b"a\0\0" + b"junk", crc=1)),
        ("wrong CRC of gamma.png", with_chunk(2205, b"gAMA", b"\0\0\xb1\x8f", crc=1)),
        ("wrong CRC of density.png", with_chunk(2206, b"pHYs", bytes(9), crc=1)),
        ("wrong CRC of EXIF.png", with_chunk(2207, b"eXIf", b"II*\0\x08\0\0\0\0\0", crc=1)),
        ("wrong CRC of a profile.png", with_chunk(2208, b"iCCP", b"a\0\0" + zlib.compress(b"x"), crc=1)),
        ("wrong CRC of an unknown chunk.png", with_chunk(2209, b"vpAg", bytes(9), crc=1)),
        ("wrong CRC after the pixels.png", with_chunk(2210, b"tEXt", text, crc=1, after=b"IDAT")),
        ("compressed text is none.png", with_chunk(2211, b"zTXt", b"a\0\0not deflated")),
        ("long text.png", with_chunk(2212, b"tEXt", b"Comment\0" + b"x" * 3_000_000)),
        ("long compressed text.png", with_chunk(2213, b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)))),
        ("long international text.png", with_chunk(2214, b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(3_000_000)))),
        ("long profile.png", with_chunk(2215, b"iCCP", b"a\0\0" + zlib.compress(bytes(3_000_000)))),
        ("many long texts.png", with_chunk(2216, b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000)), times=90)),
        ("trailing text.png", png(2217) + b"</body></html>"),
        ("trailing zeros.png", png(2218) + bytes(5000)),
        ("one row less.png", cut_png(2219, 0.97)),
        ("half the pixels.png", cut_png(2220, 0.5)),
        ("many small IDATs.png", in_small_parts(png(2221))),
        ("short density.png", with_chunk(2222, b"pHYs", b"\0")),
        ("short gamma.png", with_chunk(2223, b"gAMA", b"\0")),
        ("short chromaticities.png", with_chunk(2224, b"cHRM", bytes(5))),
    ]  # fmt: skip
    return taken(found)


def with_chunk(
    seed: int, kind: bytes, payload: bytes, *, crc: int | None = None, after: bytes = b"IHDR", times: int = 1
) -> bytes:
    return with_png_chunk(png(seed), png_chunk(kind, payload, crc=crc) * times, after=after)


def cut_png(seed: int, share: float) -> bytes:
    return cut(png(seed, size=LARGE), share)


def in_small_parts(whole: bytes) -> bytes:
    """The pixels in IDAT chunks of seven bytes, with empty ones between."""
    head, pixels = whole[:33], b"".join(data for kind, data in png_chunks(whole) if kind == b"IDAT")
    parts = [png_chunk(b"IDAT", pixels[at : at + 7]) + png_chunk(b"IDAT", b"") for at in range(0, len(pixels), 7)]
    return head + b"".join(parts) + png_chunk(b"IEND", b"")


def others() -> list[Input]:
    """Cut WebP, GIF, TIFF, BMP and AVIF. Viewers differ about those without `taken`; the ways in must not."""
    gif = image_bytes(2300, size=LARGE, kind="GIF")
    gone = webp(2301)
    lying = webp(2302)
    bmp, tiff = image_bytes(2303, size=LARGE, kind="BMP"), image_bytes(2304, size=LARGE, kind="TIFF")
    avif = image_bytes(2305, size=LARGE, kind="AVIF")
    chunks = [
        (b"VP8X", b"\x0c\0\0\0" + (95).to_bytes(3, "little") + (63).to_bytes(3, "little")),
        *riff_chunks(webp(2306)),
    ]
    sure = [
        ("no trailer.gif", gif[:-1]),
        ("trailing text.gif", gif + b"</body>"),
        ("trailing zeros.webp", gone + bytes(500)),
        ("garbage metadata.webp", riff([*chunks, (b"EXIF", b"x"), (b"XMP ", b"<<<")])),
        ("trailing text.bmp", bmp + b"</body>"),
    ]  # fmt: skip
    doubtful = [
        ("half.gif", cut(gif, 0.5)),
        ("half.webp", cut(webp(2307, size=LARGE), 0.5)),
        ("last byte gone.webp", webp(2308, size=LARGE)[:-1]),
        ("length of zero.webp", lying[:4] + bytes(4) + lying[8:]),
        ("half.bmp", cut(bmp, 0.5)),
        ("half.tiff", cut(tiff, 0.5)),
        ("half.avif", cut(avif, 0.5)),
        ("header only.jpg", (whole := jpeg(2309))[: scan_start(whole)]),
        ("header only.png", png(2310)[:33]),
        ("header only.gif", gif[:13]),
        ("wrong CRC of the pixels.png", with_wrong_crc(png(2311), b"IDAT")),
        ("wrong CRC of the palette.png", with_wrong_crc(in_palette(2312), b"PLTE")),
        ("wrong CRC of the header.png", with_wrong_crc(png(2313), b"IHDR")),
    ]
    return [*taken(sure), *(Input(name, data) for name, data in doubtful)]


def in_palette(seed: int) -> bytes:
    return saved(opened(png(seed)).quantize(16), "PNG")


def with_wrong_crc(whole: bytes, kind: bytes) -> bytes:
    at = whole.index(kind)
    end = at + 4 + int.from_bytes(whole[at - 4 : at], "big")
    return whole[:end] + bytes(4) + whole[end + 4 :]
