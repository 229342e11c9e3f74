"""Kinds of pictures: those that are taken, in their variations, and those that are refused by their names."""

import io
import struct
import zlib

import numpy as np
import pillow_heif
from PIL import Image

from tests.field.boxes import grid
from tests.field.chunks import PNG_START, ifd, long, png_chunk, riff, segment, short, tiff_header
from tests.field.inputs import Input, jpeg, png, saved, taken
from tests.images import image_bytes, opened


def picture(seed: int, *, size: tuple[int, int] = (96, 64)) -> Image.Image:
    return opened(image_bytes(seed, size=size, kind="PNG"))


def two_in_one(seed: int) -> bytes:
    """A JPEG with an index of two pictures (MPF), as cameras and telephones write for previews and depth."""
    return saved(picture(seed), "MPO", save_all=True, append_images=[picture(seed + 1, size=(48, 32))])


def animated(seed: int, kind: str, **options: object) -> bytes:
    more = [picture(seed + n) for n in (1, 2)]
    return saved(picture(seed), kind, save_all=True, append_images=more, duration=100, **options)


def heic(*images: Image.Image, **options: object) -> bytes:
    file, out = pillow_heif.HeifFile(), io.BytesIO()
    for image in images:
        file.add_from_pillow(image)
    file.save(out, quality=60, **options)
    return out.getvalue()


def tall_gif(seed: int) -> bytes:
    """Frames smaller than the canvas, the first one in a corner."""
    first = picture(seed, size=(40, 30)).quantize(32)
    data = bytearray(saved(first, "GIF"))
    data[6:10] = struct.pack("<HH", 90, 70)  # the canvas
    return bytes(data)


def accepted() -> list[Input]:
    """One kind after the other, its variations under their own names."""
    return [
        *(Input(f"two in one {n}.jpg", two_in_one(3000 + 2 * n), "image/jpeg") for n in range(2)),
        Input("two in one.MPO", two_in_one(3004), "image/jpeg"),
        *taken(
            [
                ("plain.avif", saved(picture(3010), "AVIF")),
                ("transparent.avif", saved(_half(picture(3011)), "AVIF")),
                ("animated.avif", animated(3012, "AVIF")),
                ("plain.gif", saved(picture(3020), "GIF")),
                ("animated.gif", animated(3021, "GIF")),
                ("transparent.gif", saved(picture(3024).quantize(16), "GIF", transparency=3)),
                ("small frame.gif", tall_gif(3025)),
                ("animated.webp", animated(3030, "WEBP")),
                ("animated.png", animated(3033, "PNG")),
                ("interlaced.png", interlaced(3036)),
                ("progressive.jpg", jpeg(3037, progressive=True)),
            ]
        ),
        *larger_than_a_thumbnail(),
        *heics(),
        *tiffs(),
        *bitmaps(),
        *modes(),
    ]


def larger_than_a_thumbnail() -> list[Input]:
    """Each kind once in a size that is made smaller, and one that is wide beyond measure."""
    kinds = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "avif": "AVIF", "gif": "GIF", "tiff": "TIFF", "bmp": "BMP"}
    image = picture(3140, size=(700, 500))
    found = [(f"large.{suffix}", saved(image, kind)) for suffix, kind in kinds.items()]
    return [*taken(found), Input("large.heic", heic(image), "image/heic")]


def heics() -> list[Input]:
    gray = picture(3042).convert("L")
    files = {
        "plain.heic": heic(picture(3040)),
        "transparent.heic": heic(_half(picture(3041))),
        "gray.heic": heic(gray),
        "two.heif": heic(picture(3043), picture(3044)),
        "two large.heif": heic(picture(3047, size=(700, 500)), picture(3048, size=(700, 500))),
        "deep.heic": deep_heic(3045),
        "in tiles.heic": grid(heic(picture(3046)), 3, 4),
    }
    return [Input(name, data, "image/heic") for name, data in files.items()]


def deep_heic(seed: int) -> bytes:
    """Ten bits a channel, as telephones write HDR."""
    values = np.asarray(picture(seed), np.uint16) << 8
    out = io.BytesIO()
    file = pillow_heif.from_bytes("RGB;16", (96, 64), values.tobytes())
    file.save(out, quality=60)
    return out.getvalue()


def tiffs() -> list[Input]:
    image, deep = picture(3050), np.asarray(picture(3051).convert("L"), np.uint16) << 8
    pages = [picture(3052 + n, size=(60 + n, 40)) for n in range(3)]
    unit = np.asarray(picture(3055).convert("L"), np.float32) / 255
    return taken(
        [
            ("plain.tiff", saved(image, "TIFF")),
            ("LZW.tif", saved(picture(3056), "TIFF", compression="tiff_lzw")),
            ("deflate.tif", saved(picture(3057), "TIFF", compression="tiff_adobe_deflate")),
            ("packbits.tif", saved(picture(3058), "TIFF", compression="packbits")),
            ("JPEG inside.tif", saved(picture(3059), "TIFF", compression="jpeg")),
            ("fax.tif", saved(picture(3060).convert("1"), "TIFF", compression="group4")),
            ("pages.tiff", saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])),
            ("tiled.tiff", tiled(3061)),
            ("16 bits.tiff", saved(Image.fromarray(deep), "TIFF")),
            ("floating.tiff", saved(Image.fromarray(unit), "TIFF")),
            ("inks.tiff", saved(picture(3062).convert("CMYK"), "TIFF")),
            ("Lab.tiff", saved(picture(3063).convert("LAB"), "TIFF")),
            ("palette.tiff", saved(picture(3064).quantize(32), "TIFF")),
            ("transparent.tiff", saved(_half(picture(3065)), "TIFF")),
            ("big-endian.tiff", big_endian(3066)),
        ]
    )


def tiled(seed: int) -> bytes:
    """Four tiles of 64 pixels, of which the last ones reach over the edges."""
    values = np.zeros((128, 128, 3), np.uint8)
    values[:64, :96] = np.asarray(picture(seed))
    parts = [values[y : y + 64, x : x + 64].tobytes() for y in (0, 64) for x in (0, 64)]
    size, at = len(parts[0]), 8 + 4 * len(parts[0])
    where = b"".join(long(8 + n * size) for n in range(4))
    entries = [
        (256, 4, 1, long(96)),
        (257, 4, 1, long(100)),
        (258, 3, 3, short(8) * 3),
        (259, 3, 1, short(1)),
        (262, 3, 1, short(2)),
        (277, 3, 1, short(3)),
        (322, 4, 1, long(64)),
        (323, 4, 1, long(64)),
        (324, 4, 4, where),
        (325, 4, 4, long(size) * 4),
    ]
    return tiff_header(first=at) + b"".join(parts) + ifd(entries, at=at)


def big_endian(seed: int) -> bytes:
    pixels = picture(seed).convert("L").tobytes()
    entries = [
        (256, 3, 1, short(96, ">")),
        (257, 3, 1, short(64, ">")),
        (258, 3, 1, short(8, ">")),
        (259, 3, 1, short(1, ">")),
        (262, 3, 1, short(1, ">")),
        (273, 4, 1, long(8, ">")),
        (278, 3, 1, short(64, ">")),
        (279, 4, 1, long(len(pixels), ">")),
    ]
    return tiff_header(">", first=8 + len(pixels)) + pixels + ifd(entries, order=">", at=8 + len(pixels))


def bitmaps() -> list[Input]:
    upside_down = bytearray(saved(picture(3070), "BMP"))
    upside_down[22:26] = struct.pack("<i", -64)  # rows from the top
    return taken(
        [
            ("plain.bmp", saved(picture(3071), "BMP")),
            ("gray.bmp", saved(picture(3072).convert("L"), "BMP")),
            ("two colors.bmp", saved(picture(3073).convert("1"), "BMP")),
            ("from the top.bmp", bytes(upside_down)),
            ("32 bits.bmp", saved(_half(picture(3074)), "BMP")),
        ]
    )


def interlaced(seed: int) -> bytes:
    """Adam7, written by hand: Pillow reads it and does not write it."""
    values = np.asarray(picture(seed))
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = b"".join(b"\0" + row.tobytes() for y, x, down, across in passes for row in values[y::down, x::across])
    head = struct.pack(">IIBBBBB", 96, 64, 8, 2, 0, 0, 1)
    return PNG_START + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def modes() -> list[Input]:
    """Modes of pixels that are often clipped, turned negative or lost."""
    inks = picture(3080).convert("CMYK")
    with_marker = saved(inks, "JPEG")
    deep = np.asarray(picture(3081).convert("L"), np.uint16) * 257
    first = int(deep[0, 0])
    colors = picture(3082).quantize(16)
    return taken(
        [
            ("inks with Adobe marker.jpg", with_marker),
            ("inks without Adobe marker.jpg", without_adobe(saved(picture(3083).convert("CMYK"), "JPEG"))),
            ("RGB by Adobe marker.jpg", saved(picture(3084), "JPEG", keep_rgb=True)),
            ("gray of 16 bits.png", saved(Image.fromarray(deep), "PNG")),
            ("gray of 16 bits, one transparent.png", saved(Image.fromarray(deep ^ 1), "PNG", transparency=first ^ 1)),
            ("one bit.png", saved(picture(3085).convert("1"), "PNG")),
            ("one bit, white transparent.png", saved(picture(3086).convert("1"), "PNG", transparency=255)),
            ("palette, transparent.png", saved(colors, "PNG", transparency=bytes(range(0, 256, 16)))),
            ("color of 16 bits.png", deep_color(3087)),
            ("gray with transparency.png", saved(_half(picture(3088).convert("L")), "PNG")),
            ("one color transparent.png", saved(picture(3089), "PNG", transparency=(1, 2, 3))),
            ("a strip.png", png(3090, size=(20_000, 16))),
        ]
    )  # fmt: skip


def deep_color(seed: int) -> bytes:
    values = np.asarray(picture(seed), ">u2") * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", 96, 64, 16, 2, 0, 0, 0)
    return PNG_START + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def without_adobe(whole: bytes) -> bytes:
    """A CMYK JPEG without the marker that says its inks are inverted: as written, they are those of the file."""
    at = whole.index(b"\xff\xee")
    return whole[:at] + whole[at + 2 + int.from_bytes(whole[at + 2 : at + 4], "big") :]


def _half(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(128)
    return image


def unsupported() -> list[Input]:
    """Pictures of other kinds, by their own names and under false ones: the reason says what they are."""
    kinds = {
        "JPEG XL": {
            "codestream.jxl": b"\xff\x0a\xfa\x1f" + bytes(60),
            "boxes.jxl": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60),
        },
        "JPEG 2000": {
            "boxes.jp2": saved(picture(3100), "JPEG2000"),
            "codestream.j2k": saved(picture(3101), "JPEG2000", no_jp2=True),
        },
        "Photoshop": {"layers.psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 64, 96, 8, 3) + bytes(12)},
        "SVG": {
            "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="96" height="64"/>',
            "prolog.svg": b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- by hand -->\n<svg width="9" height="9"></svg>',
        },
        "icon": {"favicon.ico": saved(picture(3102), "ICO")},
        "OpenEXR": {"light.exr": b"v/1\x01\x02\0\0\0" + bytes(60)},
        "DDS": {"texture.dds": saved(picture(3103), "DDS")},
        "JPEG XR": {"photo.jxr": b"II\xbc\x01\x20\0\0\0" + bytes(60)},
        "HDR": {"sky.hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 64 +X 96\n" + bytes(60)},
        "raw": {
            "canon.cr2": b"II*\0\x10\0\0\0CR\x02\0" + bytes(60),
            "canon.cr3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
        },
    }
    found = [
        Input(name, data, refused="unsupported_image", says=kind)
        for kind, files in kinds.items()
        for name, data in files.items()
    ]
    lies = [
        Input(f"{each.name}.jpg", each.data + b" ", refused=each.refused, says=each.says) for each in found
    ]  # a byte more: the same bytes under two names are one picture to those who know it already
    return [*found, *lies]


def no_pictures() -> list[Input]:
    """What is no picture at all, whatever its name says."""
    return [
        Input("empty.jpg", b"", refused="empty_file"),
        Input("text.jpg", b"not a picture at all, but long enough to be looked at", refused="unsupported_image"),
        Input("page.png", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", refused="unsupported_image"),
        Input("film.heic", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(90), refused="unsupported_image"),
        Input("sound.webp", b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), refused="unsupported_image"),
        Input("paper.jpg", b"%PDF-1.7\n" + bytes(50), refused="unsupported_image"),
    ]


def refused() -> list[Input]:
    """Of a kind that is taken, but not these."""
    return [
        Input("small.png", png(3110, size=(8, 8)), refused="image_too_small"),
        Input("flat.png", png(3111, size=(90, 15)), refused="image_too_small"),
        Input("900 megapixels.png", huge_png(30_000, 30_000), refused="too_many_pixels"),
        Input("12 bits.jpg", twelve_bits(3112), refused="unsupported_image", says="12"),
        Input("arithmetic.jpg", with_frame(3113, 0xC9)),
        Input("lossless.jpg", with_frame(3114, 0xC3), refused="unsupported_image"),
        Input("no pixels.webp", riff([(b"VP8X", bytes(10))])),
        Input("start of a picture.jpg", b"\xff\xd8\xff\xe0" + segment(0xE0, b"JFIF\0")[2:], refused="corrupt_image"),
    ]


def huge_png(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG_START + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(bytes(9))) + png_chunk(b"IEND", b"")


def twelve_bits(seed: int) -> bytes:
    """Extended sequential, as medical cameras write it. Only the header says so: what comes after is 8 bits."""
    data = bytearray(with_frame(seed, 0xC1))
    data[data.index(b"\xff\xc1") + 4] = 12
    return bytes(data)


def with_frame(seed: int, marker: int) -> bytes:
    """A JPEG whose frame header claims another coding."""
    data = jpeg(seed)
    at = data.index(b"\xff\xc0")
    return data[: at + 1] + bytes([marker]) + data[at + 2 :]


def false_suffixes() -> list[Input]:
    """Google Takeout and web pages: the suffix is another's, cut or none. What counts is what the bytes are."""
    return [
        Input("JPEG in.HEIC", jpeg(3120), "image/jpeg"),
        Input("no suffix", jpeg(3121), "image/jpeg"),
        Input("photo.jpg_large", jpeg(3122), "image/jpeg"),
        Input("web.jfif", jpeg(3123), "image/jpeg"),
        Input("chrome.pjpeg", jpeg(3124), "image/jpeg"),
        Input("a name that Takeout has cut short.jp", jpeg(3125), "image/jpeg"),
        Input("PXL_20260101_101010.MP", jpeg(3126), "image/jpeg"),
        Input("animation.apng", animated(3127, "PNG"), "image/png"),
        Input("PNG in.gif", png(3130), "image/png"),
        Input("AVIF in.jpg", saved(picture(3131), "AVIF"), "image/avif"),
        Input("HEIC in.jpg", heic(picture(3132)), "image/heic"),
        Input("dated.2026-01-01", jpeg(3133), "image/jpeg"),
        Input("UPPER.JPEG", jpeg(3134), "image/jpeg"),
    ]
