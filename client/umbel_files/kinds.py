"""The kind of a file, from its first bytes alone: names lie, and many have no suffix."""

from enum import StrEnum

START = 4096  # bytes that are enough to tell


class Kind(StrEnum):
    """A kind of picture, by the name that people know it by."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"
    AVIF = "AVIF"
    HEIC = "HEIC"
    GIF = "GIF"
    TIFF = "TIFF"
    BMP = "BMP"
    # Pictures all the same, so that people are told that they are not taken, and which they were.
    JPEG_XL = "JPEG XL"
    JPEG_2000 = "JPEG 2000"
    CAMERA_RAW = "camera raw"
    PHOTOSHOP = "Photoshop"
    SVG = "SVG"
    ICON = "icon"
    OPENEXR = "OpenEXR"
    DDS = "DDS"
    JPEG_XR = "JPEG XR"
    HDR = "Radiance HDR"


MEDIA_TYPES = {
    Kind.JPEG: "image/jpeg",
    Kind.PNG: "image/png",
    Kind.WEBP: "image/webp",
    Kind.AVIF: "image/avif",
    Kind.HEIC: "image/heic",
    Kind.GIF: "image/gif",
    Kind.TIFF: "image/tiff",
    Kind.BMP: "image/bmp",
}
"""The kinds that Umbel takes."""

_MAGIC = (
    (b"\xff\xd8\xff", Kind.JPEG),
    (b"\x89PNG\r\n\x1a\n", Kind.PNG),
    (b"GIF87a", Kind.GIF),
    (b"GIF89a", Kind.GIF),
    (b"\xff\x0a", Kind.JPEG_XL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", Kind.JPEG_XL),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Kind.JPEG_2000),
    (b"\xff\x4f\xff\x51", Kind.JPEG_2000),
    (b"8BPS", Kind.PHOTOSHOP),
    (b"\0\0\1\0", Kind.ICON),
    (b"v/1\x01", Kind.OPENEXR),
    (b"DDS ", Kind.DDS),
    (b"II\xbc", Kind.JPEG_XR),
    (b"#?RADIANCE", Kind.HDR),
    (b"FUJIFILMCCD-RAW", Kind.CAMERA_RAW),
    (b"IIRO", Kind.CAMERA_RAW),  # Olympus
    (b"IIRS", Kind.CAMERA_RAW),
    (b"IIU\0", Kind.CAMERA_RAW),  # Panasonic
    (b"FOVb", Kind.CAMERA_RAW),  # Sigma
    (b"\0MRM", Kind.CAMERA_RAW),  # Minolta
)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_AVIF_BRANDS = (b"avif", b"avis")
_SVG_STARTS = (b"<svg", b"<?xml", b"<!doctype svg", b"<!--")


def _hex(*starts: bytes) -> str:
    return "|".join("".join(f"\\x{byte:02x}" for byte in start) for start in starts)


_BRANDS = _hex(*_HEIC_BRANDS, *_AVIF_BRANDS, b"mif1", b"msf1", b"mif2", b"crx ")
SIGNATURES = (
    rf"^(?:{_hex(*(magic for magic, _ in _MAGIC), *_TIFF)}|RIFF[\s\S]{{4}}WEBP"
    rf"|[\s\S]{{4}}ftyp(?:{_BRANDS})|BM[\s\S]{{12}}[\s\S]\0\0\0)"
)
"""How files begin that are of some kind (but SVG), for the page: as JavaScript reads it, a byte a character."""


def kind_of(start: bytes) -> Kind | None:
    """The kind of picture that a file with this start means to be, damaged or not. None: it is no picture.

    start: at least its first START bytes, or all of a shorter file.
    """
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return Kind.WEBP
    if start[4:8] == b"ftyp":
        return _kind_of_brands(start)
    if start.startswith(_TIFF):
        return Kind.CAMERA_RAW if start[8:10] == b"CR" else Kind.TIFF  # Canon's CR2
    if start[:2] == b"BM" and _has_bitmap_header(start):
        return Kind.BMP
    return Kind.SVG if _is_svg(start) else None


def _kind_of_brands(start: bytes) -> Kind | None:
    """Of a file in boxes (ISO/IEC 14496-12), by the brands that its first box claims; films are no pictures."""
    size = int.from_bytes(start[:4], "big")
    box = start[8 : min(size, START)]
    brands = [box[:4], *(box[at : at + 4] for at in range(8, len(box) - 3, 4))]
    if brands[0] == b"crx ":
        return Kind.CAMERA_RAW  # Canon's CR3
    if any(brand in _AVIF_BRANDS for brand in brands):
        return Kind.AVIF
    if any(brand in _HEIC_BRANDS for brand in brands) or brands[0] in (b"mif1", b"msf1", b"mif2"):
        return Kind.HEIC
    return None


def _has_bitmap_header(start: bytes) -> bool:
    """Whether "BM" begins a bitmap and no text: the header behind it has one of the few lengths that there are."""
    return int.from_bytes(start[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124)


def _is_svg(start: bytes) -> bool:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith(_SVG_STARTS) and b"<svg" in text
