"""The parity check: another runtime or precision must give the same vectors as torch in float32."""

import numpy as np
import structlog

from ml.runtimes.forward import Forward
from umbel.base.types import Pixels, Vectors

# Least cosine to the vector of torch in float32.
REQUIRED = 0.999

log = structlog.get_logger(__name__)


def parity(forward: Forward, probe: Pixels, reference: Vectors) -> float:
    """Least cosine between a runtime's vectors of the probe and the reference; -1 where it fails or gives no numbers.

    probe: (n, size, size, 3) uint8; reference: (n, dim), by torch in float32.
    """
    try:
        vectors = forward(probe)
        vectors[0] = forward(probe[:1], alone=True)[0]  # all threads take other code paths
    except RuntimeError as error:  # a device or an operator that cannot do this
        log.warning("runtime_failed", runtime=forward.runtime, error=str(error).strip().splitlines()[-1])
        return -1.0
    worst = float((vectors * reference).sum(1).min())
    return worst if np.isfinite(worst) else -1.0


def check_parity(forward: Forward, probe: Pixels, reference: Vectors) -> tuple[bool, float]:
    """Whether a runtime passes, and its parity. A failure is logged."""
    cosine = parity(forward, probe, reference)
    passed = cosine >= REQUIRED
    if not passed:
        how = {"runtime": forward.runtime, "precision": forward.precision}
        log.warning("runtime_rejected", **how, cosine=round(cosine, 5), needed=REQUIRED)
    return passed, cosine


def probe_set(size: int) -> Pixels:
    """(8, size, size, 3) uint8, always the same: four made of shapes and grain, four with a photograph's spectrum."""
    return np.concatenate([probe_images(size), _natural_noise(size, count=4)])


def _natural_noise(size: int, count: int) -> Pixels:
    """(count, size, size, 3) uint8: noise whose amplitude falls as 1/f, which has texture at every scale.

    Source: Field 1987, "Relations between the statistics of natural images and the response properties of cortical
    cells".
    """
    rng = np.random.default_rng(1)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    spectrum = np.fft.rfft2(rng.normal(size=(count, size, size, 3)), axes=(1, 2))
    spectrum /= np.maximum(frequency, 1 / size)[None, :, :, None]
    noise = np.fft.irfft2(spectrum, s=(size, size), axes=(1, 2))
    noise = (noise - noise.mean((1, 2), keepdims=True)) / noise.std((1, 2), keepdims=True)
    tint = rng.uniform(0.3, 0.7, (count, 1, 1, 3))
    return ((tint + 0.2 * (0.7 * noise.mean(3, keepdims=True) + 0.5 * noise)).clip(0, 1) * 255).astype(np.uint8)


def probe_images(size: int, count: int = 4) -> Pixels:
    """(count, size, size, 3) uint8, always the same: smooth colours, blobs with edges, and grain, as in photographs."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    images = []
    for _ in range(count):
        tilt = rng.uniform(-1, 1, (2, 3))
        image = rng.uniform(0, 1, 3) + x[..., None] * tilt[0] + y[..., None] * tilt[1]
        for _ in range(12):
            (cx, cy), radius = rng.uniform(0, 1, 2), rng.uniform(0.04, 0.3)
            inside = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
            image[inside] = rng.uniform(0, 1, 3) + rng.uniform(-0.3, 0.3) * x[inside][:, None]
        images.append(image + rng.normal(0, 0.03, image.shape))
    return (np.stack(images).clip(0, 1) * 255).astype(np.uint8)
