"""A gallery as large as one likes: embeddings of real pictures by the shipped model, and perturbed copies of them."""

import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from psycopg.types.json import Jsonb
from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.types import Embedder, Vectors

# A copy is the original plus noise of this length, brought back to unit length: 0.06 away in cosine distance, where
# pictures of one species are 0.1 to 0.5 away from each other.
NOISE = 0.35
PORTION = 5_000  # rows in one transaction
COLUMNS = {
    "collection_id": "uuid",
    "sha256": "bytea",
    "blob_key": "text",
    "media_type": "text",
    "size": "bigint",
    "width": "integer",
    "height": "integer",
    "label": "text",
    "metadata": "jsonb",
}


def embed_folder(embedder: Embedder, folder: Path | None) -> tuple[Vectors, list[str]]:
    """Embeddings (n, dim) and labels of a folder of class folders; without one, of the drawn sample garden."""
    from garden import draw_garden  # noqa: PLC0415
    from ml.data.dataset import class_files  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as drawn:
        if folder is None:
            list(draw_garden(Path(drawn), species=40, per_species=12))
        files = class_files(folder or Path(drawn)).files
        portions = [files[at : at + embedder.batch_size] for at in range(0, len(files), embedder.batch_size)]
        vectors = [embedder.embed([embedder.decode(path.read_bytes()) for path, _ in some]) for some in portions]
    return np.concatenate(vectors), [label for _, label in files]


def perturbed(vectors: Vectors, count: int, *, seed: int = 0, noise: float = NOISE) -> Vectors:
    """`count` unit vectors (count, dim): the given ones, then copies of them in turn, each with noise of its own."""
    rng = np.random.default_rng(seed)
    out = vectors[np.arange(count) % len(vectors)].astype(np.float32)
    for at in range(len(vectors), count, PORTION):
        some = out[at : at + PORTION]
        direction = rng.normal(size=some.shape).astype(np.float32)
        some += noise * direction / np.linalg.norm(direction, axis=1, keepdims=True)
        some /= np.linalg.norm(some, axis=1, keepdims=True)
    return out


def copies(vectors: Vectors, number: int, *, seed: int) -> Vectors:
    """`number` perturbed copies (number, dim) of the vectors in turn, none of them one of these."""
    return perturbed(vectors, len(vectors) + number, seed=seed)[len(vectors) :]


def fill(
    version_id: UUID, vectors: Vectors, labels: Sequence[str], *, collection: str = "default", start: int = 0
) -> list[UUID]:
    """Store images without bytes, with these embeddings and, in turn, these labels. Returns their ids, in order.

    start: the number of the first, above those of the images that the collection has. metadata: `percent`, a number
    from 0 to 99, each value of one in a hundred images, spread over all labels.
    """
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.gallery import collections  # noqa: PLC0415

    ids: list[UUID] = []
    for at in range(0, len(vectors), PORTION):
        with transaction() as session:
            owner = collections.upsert_collection(session, collection)
            some = vectors[at : at + PORTION]
            rows = (_image(owner, start + at + number, labels) for number in range(len(some)))
            ids += _fill(session, version_id, owner, rows, some)
    return ids


def _fill(
    session: Session, version_id: UUID, owner: UUID, rows: Iterable[tuple[Any, ...]], vectors: Vectors
) -> list[UUID]:
    from umbel.base.copy import copy_rows  # noqa: PLC0415
    from umbel.embedding import embeddings  # noqa: PLC0415

    copy_rows(session, "image", COLUMNS, rows)
    made = session.execute(
        text("SELECT id FROM image WHERE collection_id = :owner ORDER BY blob_key DESC LIMIT :n"),
        {"owner": owner, "n": len(vectors)},
    )
    ids = [row.id for row in made][::-1]
    embeddings.upsert_embeddings(session, version_id, [(image_id, owner) for image_id in ids], vectors)
    return ids


def _image(owner: UUID, number: int, labels: Sequence[str]) -> tuple[Any, ...]:
    digest = hashlib.sha256(f"{owner} {number}".encode()).digest()
    percent = number // len(labels) * 37 + number % len(labels)
    key, meta = f"none/{number:09}", Jsonb({"percent": percent % 100})
    return owner, digest, key, "image/jpeg", 1, 1, 1, labels[number % len(labels)], meta
