"""Made-up models, whose vectors tell which picture they are of, and a gallery that they embed."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from uuid import UUID

import numpy as np
from sqlalchemy import text

from tests.integration.factory import DIM, Factory, unit
from tests.integration.scene import Silent
from umbel.base.database import transaction
from umbel.base.errors import BadCheckpoint
from umbel.base.progress import Progress
from umbel.base.tables import ModelVersion, Reindex
from umbel.base.types import Box, LoadedModel, Pixels, Queue, ReindexMode, ReindexPhase, Vectors
from umbel.embedding.embedding import EmbeddingBatch, EmbeddingHandler
from umbel.jobs import claims, jobs
from umbel.models import reindexes, versions
from umbel.models.reindexes import begin_reindex
from umbel.reindex.run import ReindexHandler

KINDS = 4


class Embedder:
    """Vectors by a picture's number: near those of its kind, by a rule that `seed` and `noise` change."""

    device, batch_size = "cpu", 8

    def __init__(self, version: ModelVersion, *, noise: float = 0.05, seed: int = 0) -> None:
        self.weights_sha256, self.dim = version.weights_sha256, version.dim
        self._noise, self._seed, self.asked = noise, seed, 0

    def embed(self, pixels: Sequence[Pixels], *, background: bool = False) -> Vectors:
        self.asked += len(pixels)
        found = [self.vector(int(each.flat[0])) for each in pixels]
        return np.stack(found) if found else np.empty((0, self.dim), np.float32)

    def vector(self, number: int) -> Vectors:
        kind = np.eye(self.dim, dtype=np.float32)[number % KINDS]
        vector = kind + self._noise * unit(number + 10_000 * self._seed, self.dim)
        return (vector / np.linalg.norm(vector)).astype(np.float16).astype(np.float32)


class Decoder:
    """A picture's pixels are the number in its blob's key; those of its parts, in turn, 1,000 more and so on."""

    def decode(self, picture: str, *, box: Box | None = None, urgent: bool = False) -> Future[Pixels]:
        future: Future[Pixels] = Future()
        future.set_result(np.array([[[int(picture.rpartition("/")[2])]]], np.int64))  # type: ignore[arg-type]
        return future

    def decode_parts(self, blob_key: str, boxes: Sequence[Box]) -> Future[list[Pixels]]:
        whole = self.decode(blob_key).result()
        future: Future[list[Pixels]] = Future()
        future.set_result([whole + 1_000 * (at + 1) for at in range(len(boxes))])
        return future


class Models:
    """Every version that a test has made a model for; the others cannot be loaded."""

    def __init__(self) -> None:
        self.loading = Progress()
        self.known: dict[UUID, LoadedModel] = {}

    def add(self, version: ModelVersion, *, noise: float = 0.05, seed: int = 0) -> Embedder:
        embedder = Embedder(version, noise=noise, seed=seed)
        self.known[version.id] = LoadedModel(version.id, embedder, Decoder())  # type: ignore[arg-type]
        return embedder

    def share(self, version: ModelVersion, other: UUID) -> None:
        """Let a version have the embedder of another one of its checkpoint, as a worker does."""
        self.known[version.id] = replace(self.known[other], version_id=version.id)

    def load(self, asked: Sequence[UUID]) -> list[LoadedModel]:
        if any(each not in self.known for each in asked):
            raise BadCheckpoint("The weights do not fit their card.")
        return [self.known[each] for each in asked]


def make_version(
    models: Models, *, active: bool = False, dim: int = DIM, noise: float = 0.05, seed: int = 0
) -> ModelVersion:
    with transaction() as session:
        start = session.execute(text("SELECT count(*) FROM model_version")).scalar_one()
        version = Factory(session, start=start).version(active=active, dim=dim)
    models.add(version, noise=noise, seed=seed)
    return version


def worked(line: EmbeddingHandler) -> EmbeddingBatch:
    """A batch of single uploads that was claimed and embedded, and is not stored."""
    claimed = line._claim([Queue.SINGLE], claims.claim_items, 9)
    assert claimed is not None
    [batch] = line.work(iter([claimed]))
    return batch


def upload(line: EmbeddingHandler, count: int, *, labelled: bool = True, embed: bool = True) -> list[UUID]:
    """New pictures through the ledger, embedded with whatever is kept."""
    with transaction() as session:
        start = session.execute(text("SELECT 100 + count(*) FROM image")).scalar_one()
        make, added = Factory(session, start=start), []
        job = make.job()
        for number in range(start + 1, start + 1 + count):
            label = f"kind {number % KINDS}" if labelled else None
            added.append(make.image(label=label))
            session.execute(
                text(
                    "INSERT INTO job_item (job_id, image_id, queue, state) VALUES (:job, :image, 'single', 'pending')"
                ),
                {"job": job, "image": added[-1]},
            )
    if embed:
        line.run([Queue.SINGLE])
    return added


def begin(version: ModelVersion | None = None, **options: object) -> UUID:
    options = {"mode": ReindexMode.EMBEDDINGS, "version_id": version and version.id, **options}
    return begin_reindex(transaction, Silent(), **options)  # type: ignore[arg-type]


def run(reindexing: ReindexHandler, line: EmbeddingHandler) -> None:
    """As a worker does when it is rung for."""
    reindexing.run()
    line.run([Queue.SINGLE, Queue.BULK, Queue.REINDEX])
    reindexing.run()


def advance(reindexing: ReindexHandler, line: EmbeddingHandler, job_id: UUID, phase: str) -> None:
    """Step by step, until the reindex is in that phase."""
    while reindex_of(job_id).phase != phase:
        if reindex_of(job_id).phase == ReindexPhase.EMBEDDING:
            line.run([Queue.REINDEX])
        reindexing.step()


def reindex_of(job_id: UUID) -> Reindex:
    with transaction() as session:
        return reindexes.list_reindexes(session, [job_id])[job_id]


def state(version: ModelVersion) -> str:
    with transaction() as session:
        return versions.get_version(session, version.id).state


def embedded(version: ModelVersion) -> set[UUID]:
    with transaction() as session:
        statement = text("SELECT image_id FROM embedding WHERE model_version_id = :id")
        return set(session.scalars(statement, {"id": version.id}))


def status(job_id: UUID) -> tuple[str, int, int]:
    with transaction() as session:
        job = jobs.get_job(session, job_id)
        return job.status, job.total, job.indexed
