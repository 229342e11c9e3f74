"""A gallery whose embeddings a test chooses, with real pictures behind them; and a line that compares it."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import numpy as np
from PIL import Image, ImageEnhance
from sqlalchemy import text

from ml.data.duplicates import quick_pixel_similarities
from ml.preprocess import Preprocessing
from tests.images import image_bytes, opened
from tests.integration.factory import DIM, Factory
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.tables import ModelVersion
from umbel.base.types import PixelSimilarities, Vector
from umbel.insights.comparison import ComparisonHandler, begin_comparison
from umbel.jobs import jobs
from umbel.jobs.leases import Leases
from worker.decoders import WorkerDecoders


class Silent:
    """A waker that wakes no worker: tests run the line themselves."""

    def wake(self, queue: object) -> bool:
        return False


@contextmanager
def comparison_line(pixel_similarities: PixelSimilarities = quick_pixel_similarities) -> Iterator[ComparisonHandler]:
    """A line with decoders of its own."""
    with WorkerDecoders(Preprocessing(), settings()) as decoder:
        yield ComparisonHandler(
            transaction=transaction,
            settings=settings(),
            leases=Leases(transaction, "tester", 60),
            decoder=decoder,
            pixel_similarities=pixel_similarities,
        )


def near(direction: Vector, distance: float, seed: int) -> Vector:
    """A unit vector at this cosine distance from another."""
    random = np.random.default_rng(seed).normal(size=direction.shape)
    across = random - (random @ direction) * direction
    cosine = 1 - distance
    return (cosine * direction + np.sqrt(1 - cosine**2) * across / np.linalg.norm(across)).astype(np.float32)


def axis(number: int) -> Vector:
    """Unit vectors at distance 1 from one another."""
    return np.eye(DIM, dtype=np.float32)[number]


def version() -> ModelVersion:
    with transaction() as session:
        known = session.scalar(text("SELECT count(*) FROM model_version"))
        return Factory(session, start=known or 0).version()


def add(
    of: ModelVersion, vector: Vector, data: bytes, *, collection: str = "default", label: str | None = None
) -> UUID:
    """An image with this embedding and these bytes."""
    with transaction() as session:
        start = session.scalar(text("SELECT coalesce(max(substring(blob_key FROM '[0-9]+$')::int), 1000) FROM image"))
        image_id = Factory(session, start=start).image(collection=collection, label=label, vector=vector, version=of)
        width, height = opened(data).size
        key = session.scalar(
            text("UPDATE image SET width = :w, height = :h, size = :size WHERE id = :id RETURNING blob_key"),
            {"w": width, "h": height, "size": len(data), "id": image_id},
        )
    blobs().put(key, data)
    return image_id


def brighter(data: bytes, by: float = 1.15, quality: int = 80) -> bytes:
    """The same picture, changed a little."""
    out = io.BytesIO()
    ImageEnhance.Brightness(opened(data)).enhance(by).save(out, "JPEG", quality=quality)
    return out.getvalue()


def smaller(data: bytes, share: float = 0.5) -> bytes:
    whole, out = opened(data), io.BytesIO()
    size = (round(whole.width * share), round(whole.height * share))
    whole.resize(size, Image.Resampling.LANCZOS).save(out, "JPEG")
    return out.getvalue()


def photograph(seed: int) -> bytes:
    """A picture with something to see in it."""
    return image_bytes(seed, size=(360, 240))


def compare(line: ComparisonHandler, *, collection: str | None = None, again: bool = False) -> UUID:
    """Compare to the end; the job's id."""
    job_id = begin(collection=collection, again=again)
    line.run()
    with transaction() as session:
        assert jobs.get_job(session, job_id).finished_at is not None
    return job_id


def begin(*, collection: str | None = None, again: bool = False) -> UUID:
    begun = begin_comparison(transaction, Silent(), collection=collection, again=again)  # type: ignore[arg-type]
    assert begun is not None
    return begun.job_id
