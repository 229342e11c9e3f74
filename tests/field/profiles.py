"""Pictures with ICC profiles, and the sRGB colors that a viewer shows for them.

The profiles are written here, and the colors expected are computed from the same numbers without a color engine.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.field.chunks import after_start, png_chunk, segment, with_png_chunk
from tests.field.inputs import Input, media_type, saved

Matrix = NDArray[np.float64]

# Columns: XYZ of red, green and blue, adapted to D50 as profiles have them.
SRGB: Matrix = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
ADOBE_RGB: Matrix = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
DISPLAY_P3: Matrix = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
SWAPPED: Matrix = SRGB[:, ::-1]  # red is blue: plain to see where a profile is left out

PATCHES = np.array(
    [(200, 40, 40), (40, 200, 40), (40, 40, 200), (220, 180, 60), (128, 128, 128), (200, 120, 160)], np.uint8
)
SIDE = 32  # pixels of a patch: a few blocks of JPEG


def rgb_profile(matrix: Matrix, gamma: float = 2.2, *, space: bytes = b"RGB ") -> bytes:
    curve = b"curv" + struct.pack(">IIH2x", 0, 1, round(gamma * 256))
    primaries = {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True)}
    return _profile(space, primaries | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def gray_profile(gamma: float) -> bytes:
    return _profile(b"GRAY", {b"kTRC": b"curv" + struct.pack(">IIH2x", 0, 1, round(gamma * 256))})


def cmyk_profile(corners: Matrix) -> bytes:
    """A profile of 16 colors, one for every mixture of full inks. corners: (16, 3), L in 0…100, a and b; black last."""
    encoded = np.rint(corners * (2.55, 1, 1) + (0, 128, 128)).clip(0, 255).astype(np.uint8)
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * one for one in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + ramp * 4 + encoded.tobytes() + ramp * 3
    return _profile(b"CMYK", {b"A2B0": table}, connection=b"Lab ", kind=b"prtr")


def _xyz(values: Matrix | tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _profile(space: bytes, tags: dict[bytes, bytes], *, connection: bytes = b"XYZ ", kind: bytes = b"mntr") -> bytes:
    text = b"tests\0"
    tags = {
        b"desc": b"desc" + struct.pack(">II", 0, len(text)) + text + bytes(78),
        b"cprt": b"text" + bytes(4) + text,
        b"wtpt": _xyz((0.9642, 1.0, 0.8249)),
    } | tags
    table, data, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", at + len(data), len(value))
        data += value + b"\0" * (-len(value) % 4)
    size = at + len(data)
    date = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head = struct.pack(">I4sI", size, bytes(4), 0x02400000) + kind + space + connection + date
    head += b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)  # flags to intent, then D50
    return head.ljust(128, b"\0") + table + data


def shown(values: NDArray[np.uint8], matrix: Matrix, gamma: float = 2.2) -> NDArray[np.float64]:
    """(N, 3) sRGB values of colors in a profile's space; beyond sRGB they are clipped."""
    linear = (values / 255) ** gamma @ matrix.T @ np.linalg.inv(SRGB).T
    return encoded(linear)


def encoded(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB's values in 0…255 of linear ones in 0…1."""
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def lab(srgb: tuple[int, int, int]) -> tuple[float, float, float]:
    """CIE L*a*b* (D50) of an sRGB color."""
    values = np.array(srgb) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(SRGB @ linear / (0.9642, 1.0, 0.8249))  # none of the colors below is dark enough for the line
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@dataclass(frozen=True, slots=True)
class Colored:
    """A picture of patches side by side. srgb: (N, 3), what is to be seen in the middle of each."""

    file: Input
    srgb: NDArray[np.float64]


def patches(values: NDArray[np.uint8], mode: str) -> Image.Image:
    """(N, channels) or (N,): squares side by side, the picture two squares high."""
    row = np.repeat(values, SIDE, axis=0)
    return Image.fromarray(np.repeat(row[np.newaxis], 2 * SIDE, axis=0), mode)


LOSSLESS: dict[str, dict[str, object]] = {
    "jpg": {"kind": "JPEG", "quality": 95, "subsampling": 0},
    "png": {"kind": "PNG"},
    "webp": {"kind": "WEBP", "lossless": True},
    "tiff": {"kind": "TIFF"},
    "avif": {"kind": "AVIF", "quality": 95, "subsampling": "4:4:4"},
}


def in_rgb() -> list[Colored]:
    """Every profile in every kind of file."""
    profiles = {"srgb": SRGB, "adobergb": ADOBE_RGB, "p3": DISPLAY_P3, "swapped": SWAPPED}
    image = patches(PATCHES, "RGB")
    return [
        _colored(f"{name}.{suffix}", saved(image, icc_profile=rgb_profile(matrix), **how), shown(PATCHES, matrix))  # type: ignore[arg-type]
        for name, matrix in profiles.items()
        for suffix, how in LOSSLESS.items()
    ]


def in_other_modes() -> list[Colored]:
    """Gray, inks, palettes, transparency, 16 bits."""
    grays = np.array([32, 64, 128, 192, 240], np.uint8)
    linear = encoded(np.repeat((grays / 255)[:, np.newaxis], 3, axis=1))
    gray = patches(grays, "L")
    swapped, rgb = rgb_profile(SWAPPED), patches(PATCHES, "RGB")
    half = rgb.copy()
    half.putalpha(128)
    over_white = shown(PATCHES, SWAPPED) * 128 / 255 + 127
    return [
        _colored("gray.jpg", saved(gray, "JPEG", icc_profile=gray_profile(1.0)), linear),
        _colored("gray.png", saved(gray, "PNG", icc_profile=gray_profile(1.0)), linear),
        _colored("gray.tiff", saved(gray, "TIFF", icc_profile=gray_profile(1.0)), linear),
        *in_inks(),
        _colored("palette.png", saved(rgb.quantize(8), "PNG", icc_profile=swapped), shown(PATCHES, SWAPPED)),
        _colored("transparent.png", saved(half, "PNG", icc_profile=swapped), over_white),
        _colored("transparent.webp", saved(half, "WEBP", lossless=True, icc_profile=swapped), over_white),
    ]


def in_inks() -> list[Colored]:
    """A press that prints red where it is told cyan: the colors of a profile, not those of a rule of thumb."""
    told = {(255, 0, 0, 0): (220, 60, 60), (0, 255, 0, 0): (60, 180, 90), (0, 0, 255, 0): (70, 80, 200)}
    inks = np.array([*told, (0, 0, 0, 0)], np.uint8)
    colors = [*told.values(), (255, 255, 255)]
    corners = np.zeros((16, 3))  # mixtures are black, so that compensating for a gray black changes nothing
    for ink, color in zip(inks, colors, strict=True):
        corners[int("".join("1" if part else "0" for part in ink), 2)] = lab(color)
    image, profile, srgb = patches(inks, "CMYK"), cmyk_profile(corners), np.array(colors, np.float64)
    return [
        _colored("inks.jpg", saved(image, "JPEG", quality=95, icc_profile=profile), srgb),
        _colored("inks.tiff", saved(image, "TIFF", icc_profile=profile), srgb),
    ]


def broken() -> list[Colored]:
    """Profiles that are none, or another mode's: the picture is taken as if it had none."""
    rgb, whole = patches(PATCHES, "RGB"), rgb_profile(SWAPPED)
    blocks = {
        "garbage": bytes(range(200)),
        "short": whole[:100],
        "cut": whole[:300],
        "of zeros": bytes(400),
        "of gray": gray_profile(1.0),
        "of inks": rgb_profile(SWAPPED, space=b"CMYK"),
        "of a space that is not": rgb_profile(SWAPPED, space=b"????"),
    }
    plain = PATCHES.astype(np.float64)
    found = [
        _colored(f"profile {what}.{suffix}", saved(rgb, icc_profile=block, **LOSSLESS[suffix]), plain)  # type: ignore[arg-type]
        for what, block in blocks.items()
        for suffix in ("jpg", "png", "webp")
    ]
    bare = saved(rgb, "JPEG", quality=95, subsampling=0)
    lost = segment(0xE2, b"ICC_PROFILE\0\x02\x02" + whole)  # the second part of two, without the first
    bad_stream = with_png_chunk(saved(rgb, "PNG"), png_chunk(b"iCCP", b"x\0\0" + b"no deflate"))
    return [
        *found,
        _colored("profile half there.jpg", after_start(bare, lost), plain),
        _colored("profile not deflated.png", bad_stream, plain),
    ]


def _colored(name: str, data: bytes, srgb: NDArray[np.float64]) -> Colored:
    return Colored(Input(name, data, media_type(name)), srgb)
