"""Pictures that kill, hang or bloat their decoder, or break the model: they fail alone, their neighbors do not."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import numpy as np
import pytest

from tests.images import image_bytes
from tests.integration.factory import DIM, Factory, unit
from tests.integration.uploads import add_image
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.types import LoadedModel, Pixels, Queue, Vectors
from umbel.embedding.embedding import EmbeddingHandler
from umbel.gallery.upload import Upload
from umbel.imports.imports import open_import
from umbel.jobs import items, jobs
from umbel.jobs.leases import Leases
from worker.decoders import WorkerDecoders
from worker.models import OneModel

pytestmark = pytest.mark.usefixtures("database")

LIMITS = settings().model_copy(update={"decode_seconds": 1.5, "decode_processes": 2})
SIDE = {"segfault": 21, "hang": 22, "bloat": 23, "model": 24}  # a picture's height says what it does


def obey(data: bytes) -> Pixels:
    """A decoder that does what a picture's height tells it to."""
    import io  # noqa: PLC0415

    from PIL import Image  # noqa: PLC0415 - runs in the child

    height = Image.open(io.BytesIO(data)).height
    if height == SIDE["segfault"]:
        os.kill(os.getpid(), signal.SIGSEGV)
    if height == SIDE["hang"]:
        time.sleep(60)
    if height == SIDE["bloat"]:
        np.ones(2**40, np.uint8)
    return np.full((1, 1, 3), height, np.uint8)


class Model:
    """An embedder that breaks on one picture, whatever batch it is in; counts how large the batches are."""

    weights_sha256, dim, device, batch_size = "0" * 64, DIM, "cpu", 16

    def __init__(self) -> None:
        self.batches: list[int] = []

    def embed(self, pixels: Sequence[Pixels], *, background: bool = False) -> Vectors:
        self.batches.append(len(pixels))
        if any(each.flat[0] == SIDE["model"] for each in pixels):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return np.stack([unit(seed) for seed in range(len(pixels))]) if pixels else np.empty((0, DIM), np.float32)


@pytest.fixture(scope="module")
def decoder() -> Iterator[WorkerDecoders]:
    with WorkerDecoders(None, LIMITS, decode=obey) as pool:  # type: ignore[arg-type]
        yield pool


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def embed(decoder: WorkerDecoders, model: Model) -> Callable[[], int]:
    with transaction() as session:
        version = Factory(session).version().id
    models = OneModel(LoadedModel(version, model, decoder))  # type: ignore[arg-type]
    line = EmbeddingHandler(
        transaction=transaction, settings=LIMITS, leases=Leases(transaction, "me", 60), models=models
    )
    return lambda: line.run([Queue.SINGLE, Queue.BULK])


def imported(*heights: int) -> UUID:
    with transaction() as session:
        job_id = open_import(session, "default")
    for seed, height in enumerate(heights):
        data = image_bytes(seed, size=(40, height), kind="PNG")
        add_image(transaction, blobs(), settings(), Upload(data, name=str(height), job_id=job_id))
    with transaction() as session:
        jobs.close_job(session, job_id)
    return job_id


def outcome(job_id: UUID) -> dict[str, tuple[str, str | None, int]]:
    with transaction() as session:
        rows = items.list_items(session, job_id, state=None, after=None, limit=99)
        return {row.name or "": (row.state, row.error_code, row.attempts) for row in rows}


@pytest.mark.parametrize("kind", ["segfault", "hang", "model"])
def test_it_fails_alone_after_three_attempts(embed: Callable[[], int], kind: str) -> None:
    good = (30, 31, 32, 33, 34)
    job_id = imported(*good[:2], SIDE[kind], *good[2:])
    embed()
    seen = outcome(job_id)
    assert seen.pop(str(SIDE[kind])) == ("failed", "poison", 3)
    assert seen == {str(height): ("indexed", None, 1) for height in good}


def test_more_memory_than_a_picture_may_have_is_the_pictures_fault_too(embed: Callable[[], int]) -> None:
    job_id = imported(30, SIDE["bloat"])
    embed()
    assert outcome(job_id) == {"30": ("indexed", None, 1), str(SIDE["bloat"]): ("failed", "poison", 3)}


def test_a_batch_that_breaks_the_model_is_halved_down_to_the_culprit(embed: Callable[[], int], model: Model) -> None:
    imported(*range(30, 37), SIDE["model"])
    embed()
    assert model.batches[:7] == [8, 4, 4, 2, 2, 1, 1]


def test_the_reason_is_told(embed: Callable[[], int]) -> None:
    job_id = imported(SIDE["segfault"])
    embed()
    with transaction() as session:
        (item,) = items.list_items(session, job_id, state="failed", after=None, limit=9)
    assert "SIGSEGV" in (item.error_detail or "")
