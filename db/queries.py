"""Query pictures: left by a search, answered by a worker, fetched and forgotten."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from core.types import Vector
from db.models import QueryPicture

STORED = np.dtype("<f4")  # how a vector lies in its row


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a query picture: a vector under a model version, or an error (code, detail)."""

    model_version_id: UUID | None
    vector: Vector | None
    error: tuple[str, str] | None


def insert_query(session: Session, picture: bytes) -> UUID:
    return session.execute(insert(QueryPicture).values(picture=picture).returning(QueryPicture.id)).scalar_one()


CLAIM = """
WITH free AS (
    SELECT id FROM query_picture WHERE claimed_at IS NULL ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE query_picture q SET claimed_at = now() FROM free WHERE q.id = free.id RETURNING q.id, q.picture
"""


def claim_queries(session: Session, limit: int) -> list[tuple[UUID, bytes]]:
    """Up to `limit` waiting pictures, oldest first."""
    return [(row.id, row.picture) for row in session.execute(text(CLAIM), {"limit": limit})]


def answer_queries(session: Session, version_id: UUID, vectors: Mapping[UUID, Vector]) -> None:
    """Store the vectors; those who wait are notified when the transaction commits."""
    for query_id, vector in vectors.items():
        session.execute(
            update(QueryPicture)
            .where(QueryPicture.id == query_id)
            .values(model_version_id=version_id, vector=vector.astype(STORED).tobytes())
        )


def refuse_queries(session: Session, errors: Mapping[UUID, tuple[str, str]]) -> None:
    """Store why pictures got no vector, as (code, detail)."""
    for query_id, (code, detail) in errors.items():
        session.execute(
            update(QueryPicture).where(QueryPicture.id == query_id).values(error_code=code, error_detail=detail)
        )


def release_queries(session: Session, queries: Sequence[UUID]) -> None:
    """Give claimed pictures back."""
    session.execute(update(QueryPicture).where(QueryPicture.id.in_(queries)).values(claimed_at=None))


def take_answer(session: Session, query_id: UUID) -> Answer | None:
    """The answer, its row removed; None while there is none."""
    row = session.execute(
        delete(QueryPicture)
        .where(QueryPicture.id == query_id, func.num_nonnulls(QueryPicture.vector, QueryPicture.error_code) > 0)
        .returning(
            QueryPicture.model_version_id, QueryPicture.vector, QueryPicture.error_code, QueryPicture.error_detail
        )
    ).one_or_none()
    if row is None:
        return None
    vector = None if row.vector is None else np.frombuffer(row.vector, STORED).astype(np.float32)
    return Answer(row.model_version_id, vector, row.error_code and (row.error_code, row.error_detail))


def delete_queries(session: Session, queries: Sequence[UUID]) -> None:
    session.execute(delete(QueryPicture).where(QueryPicture.id.in_(queries)))


def delete_old_queries(session: Session, seconds: float) -> int:
    """Forget the pictures whose askers have gone."""
    old = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return session.execute(delete(QueryPicture).where(QueryPicture.created_at < old)).rowcount  # type: ignore[attr-defined]


def release_unanswered_queries(session: Session, seconds: float) -> bool:
    """Free the pictures whose worker died holding them; True if any picture waits to be claimed."""
    stale = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    session.execute(
        update(QueryPicture)
        .where(QueryPicture.claimed_at < stale, QueryPicture.vector.is_(None), QueryPicture.error_code.is_(None))
        .values(claimed_at=None)
    )
    return bool(session.scalar(select(func.count()).where(QueryPicture.claimed_at.is_(None))))
