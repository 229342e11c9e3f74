"""Rows for tests, made through the project's own functions."""

import hashlib
from typing import Any
from uuid import UUID

import numpy as np
from psycopg.types.json import Jsonb
from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.database import transaction
from umbel.base.tables import ModelVersion
from umbel.base.types import ItemState, JobType, Queue, Vector
from umbel.embedding import embeddings
from umbel.gallery import collections
from umbel.jobs import items, jobs
from umbel.models import partitions, versions

DIM = 8


class Factory:
    """Makes rows in one session; numbers what it makes from `start` on, so that no two pictures share bytes."""

    def __init__(self, session: Session, *, start: int = 0) -> None:
        self.session = session
        self._count = start

    def collection(self, name: str = "default") -> UUID:
        return collections.upsert_collection(self.session, name)

    def version(self, *, active: bool = True, dim: int = DIM, card: dict[str, object] | None = None) -> ModelVersion:
        self._count += 1
        version = versions.insert_model_version(
            self.session,
            name=f"model-{self._count}",
            architecture="none",
            dim=dim,
            weights_sha256=f"{self._count:064x}",
            preprocessing_hash="none",
            card=card or {},
        )
        partitions.create_partition(self.session, version.id, dim)
        if active:
            versions.activate_version(self.session, version.id)
        return version

    def image(
        self,
        *,
        collection: str = "default",
        label: str | None = None,
        name: str | None = None,
        meta: dict[str, object] | None = None,
        vector: Vector | None = None,
        version: ModelVersion | None = None,
    ) -> UUID:
        self._count += 1
        collection_id = self.collection(collection)
        digest = hashlib.sha256(str(self._count).encode()).digest()
        statement = text("""
            INSERT INTO image (collection_id, sha256, blob_key, media_type, size, width, height, name, label, metadata)
            VALUES (:collection, :digest, :key, 'image/jpeg', 1, 1, 1, :name, :label, :meta) RETURNING id
        """)
        values: dict[str, Any] = {
            "collection": collection_id,
            "digest": digest,
            "key": f"pictures/{self._count}",
            "label": label,
        }
        values |= {"name": name, "meta": Jsonb(meta or {})}
        image_id: UUID = self.session.execute(statement, values).scalar_one()
        if vector is not None and version is not None:
            embeddings.upsert_embeddings(self.session, version.id, [(image_id, collection_id)], vector[None])
        return image_id

    def job(self, *, job_type: JobType = JobType.UPLOAD, closed: bool = True) -> UUID:
        return jobs.insert_job(self.session, job_type, collection_id=self.collection(), closed=closed)

    def item(self, job_id: UUID, *, queue: Queue = Queue.SINGLE, state: ItemState = ItemState.PENDING) -> UUID:
        error = ("broken", "It is broken.") if state == ItemState.FAILED else None
        return items.insert_item(
            self.session, job_id, image_id=self.image(), queue=queue, name=None, state=state, error=error
        )


def committed(make: Any) -> Any:
    """What `make(factory)` returns, its rows committed."""
    with transaction() as session:
        return make(Factory(session))


def unit(seed: int, dim: int = DIM) -> Vector:
    """A random unit vector, as it is after a journey through half precision."""
    vector = np.random.default_rng(seed).normal(size=dim)
    return (vector / np.linalg.norm(vector)).astype(np.float16).astype(np.float32)


def fill(session: Session, version: ModelVersion, collection_id: UUID, count: int) -> None:
    """So many images with random vectors, the first of them with `unit(1)`."""
    ids = session.scalars(
        text("""
            INSERT INTO image (collection_id, sha256, blob_key, media_type, size, width, height, label)
            SELECT :c, sha256(n::text::bytea), '-', 'image/jpeg', 1, 1, 1, 'label ' || n % 7
            FROM generate_series(1, :n) n RETURNING id
        """),
        {"c": collection_id, "n": count},
    ).all()
    embeddings.upsert_embeddings(session, version.id, [(ids[0], collection_id)], unit(1)[None])
    session.execute(
        text("""
            INSERT INTO embedding (model_version_id, image_id, collection_id, vector)
            SELECT :v, id, collection_id, l2_normalize(vector::halfvec) FROM (
                SELECT id, collection_id, array_agg(random() - 0.5) AS vector
                FROM image, generate_series(1, :dim) WHERE collection_id = :c GROUP BY id, collection_id) random
            ON CONFLICT DO NOTHING
        """),
        {"v": version.id, "dim": DIM, "c": collection_id},
    )
