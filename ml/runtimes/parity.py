"""Whether another runtime, or another arithmetic, still is the same model: it must give the same vectors."""

import numpy as np
import structlog
from PIL import Image

from garden import draw_specimen
from ml.runtimes.forward import Forward
from umbel.base.types import Pixels, Vectors

# Below this cosine to what torch in float32 makes of the same picture, it is not the same model any more.
FAITHFUL = 0.999

log = structlog.get_logger(__name__)


def pixel_similarity(forward: Forward, probe: Pixels, reference: Vectors) -> float:
    """Least cosine between a runtime's vectors of the probe and the reference; -1 where it fails or gives no numbers.

    probe: (n, size, size, 3) uint8; reference: (n, dim), by torch in float32.
    """
    try:
        vectors = forward(probe)
        vectors[0] = forward(probe[:1], alone=True)[0]  # on all threads, which takes other ways through the network
    except RuntimeError as error:  # a device or an operator that cannot do this
        log.warning("runtime_failed", runtime=forward.runtime, error=str(error).strip().splitlines()[-1])
        return -1.0
    worst = float((vectors * reference).sum(1).min())
    return worst if np.isfinite(worst) else -1.0


def is_faithful(forward: Forward, probe: Pixels, reference: Vectors) -> tuple[bool, float]:
    """Whether a runtime may stand for the model, with its agreement; says so in the log when it may not."""
    cosine = pixel_similarity(forward, probe, reference)
    if cosine < FAITHFUL:
        log.warning(
            "runtime_refused",
            runtime=forward.runtime,
            precision=forward.precision,
            cosine=round(cosine, 5),
            needed=FAITHFUL,
        )
    return cosine >= FAITHFUL, cosine


def probe_set(size: int) -> Pixels:
    """(8, size, size, 3) uint8, always the same: four made of shapes and grain, four drawn flowers."""
    flowers = [draw_specimen(0, species, 0).resize((size, size), Image.Resampling.BICUBIC) for species in range(4)]
    return np.concatenate([probe_pictures(size), np.stack([np.asarray(flower, np.uint8) for flower in flowers])])


def probe_pictures(size: int, count: int = 4) -> Pixels:
    """(count, size, size, 3) uint8, always the same: smooth colours, blobs with edges, and grain, as in photographs."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    pictures = []
    for _ in range(count):
        tilt = rng.uniform(-1, 1, (2, 3))
        picture = rng.uniform(0, 1, 3) + x[..., None] * tilt[0] + y[..., None] * tilt[1]
        for _ in range(12):
            (cx, cy), radius = rng.uniform(0, 1, 2), rng.uniform(0.04, 0.3)
            inside = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
            picture[inside] = rng.uniform(0, 1, 3) + rng.uniform(-0.3, 0.3) * x[inside][:, None]
        pictures.append(picture + rng.normal(0, 0.03, picture.shape))
    return (np.stack(pictures).clip(0, 1) * 255).astype(np.uint8)
