"""What is seen of a picture: a pixels, and how sharp it is."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from scipy.ndimage import laplace

from tests.images import image_bytes
from umbel.base.errors import CorruptImage
from umbel.base.settings import Settings
from umbel.insights.signature import SIDE, SMOOTHED, packed, sharpness, signature_of, unpacked


def noise(size: tuple[int, int] = (400, 300)) -> Image.Image:
    """Detail at all scales, as in a photograph: it is there whatever the size."""
    generator, (width, height) = np.random.default_rng(3), size
    layers = [
        Image.fromarray(generator.integers(0, 256, (4 << octave, 5 << octave), np.uint8)).resize((width, height))
        for octave in range(5)
    ]
    return Image.fromarray(np.mean([np.asarray(layer) for layer in layers], 0).astype(np.uint8))


def saved(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def test_a_plain_surface_has_no_sharpness() -> None:
    assert sharpness(Image.new("L", (40, 30), 7)) == 0


def test_the_laplacian_is_that_of_scipy() -> None:
    grey = noise().convert("L")
    smooth = np.asarray(grey.filter(ImageFilter.GaussianBlur(SMOOTHED)), np.float32)
    expected = laplace(smooth)[1:-1, 1:-1].var() / (smooth.var() + 1)
    assert sharpness(grey) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("quality", [40, 75, 95])
def test_recompression_makes_no_picture_sharper(quality: int) -> None:
    seen = [signature_of(saved(noise(), quality=each), Settings()).sharpness for each in (98, quality)]
    assert seen[1] == pytest.approx(seen[0], rel=0.1)


def test_contrast_is_not_sharpness() -> None:
    stronger = ImageEnhance.Contrast(noise()).enhance(1.3)
    seen = [signature_of(saved(each), Settings()).sharpness for each in (noise(), stronger)]
    assert seen[1] == pytest.approx(seen[0], rel=0.15)


def test_a_blurred_copy_is_less_sharp() -> None:
    sharp, soft = noise(), noise().filter(ImageFilter.GaussianBlur(1.5))
    assert signature_of(saved(soft), Settings()).sharpness < 0.7 * signature_of(saved(sharp), Settings()).sharpness


def test_a_reduced_copy_is_about_as_sharp() -> None:
    whole = noise((1600, 1200))
    half = whole.resize((800, 600), Image.Resampling.LANCZOS)
    seen = [signature_of(saved(image), Settings()).sharpness for image in (whole, half)]
    assert seen[1] == pytest.approx(seen[0], rel=0.25)


def test_a_thumb_is_a_grey_square() -> None:
    pixels = signature_of(image_bytes(1, size=(300, 90)), Settings()).pixels
    assert (pixels.shape, pixels.dtype) == ((SIDE, SIDE), np.uint8)


def test_a_stored_thumb_is_nearly_the_same() -> None:
    pixels = signature_of(image_bytes(2), Settings()).pixels
    assert np.abs(unpacked(packed(pixels)).astype(int) - pixels).max() < 10


def test_a_damaged_picture_is_refused() -> None:
    with pytest.raises(CorruptImage):
        signature_of(image_bytes(3, size=(400, 300), kind="WEBP")[:800], Settings())
