"""Colors as they are meant: from a picture's own color space, by its embedded profile, to sRGB."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # the profile's color space that fits a mode of Pillow's
STEPS = 9  # of each channel, when a profile is compared with sRGB
UNSEEN = 2  # difference of 255 up to which a profile is taken for sRGB itself, of which there are dozens

_SRGB = ImageCms.createProfile("sRGB")


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture (RGB, L or CMYK) as RGB in sRGB.

    A profile that cannot be read, or is not for such pixels, counts as none, as it does for viewers.
    """
    if profile and (transform := _transform(profile, image.mode)):
        return ImageCms.applyTransform(image, transform)  # type: ignore[return-value]
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the profile to sRGB, perceptually; None where nothing is to be done."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if given.profile.xcolor_space.strip() != SPACES.get(mode):
            return None
        transform = ImageCms.buildTransform(given, _SRGB, mode, "RGB", ImageCms.Intent.PERCEPTUAL)
        return None if mode == "RGB" and _changes_nothing(transform) else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    levels = np.linspace(0, 255, STEPS).astype(np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    shown = np.asarray(ImageCms.applyTransform(Image.fromarray(colors), transform))
    return int(np.abs(shown.astype(int) - colors).max()) <= UNSEEN
