"""Query pictures, or parts of them: left by a search, answered by a worker, fetched and forgotten.

A request waits meanwhile, so each step is one statement that is prepared, sent and committed in one round trip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from umbel.base.database import run_prepared
from umbel.base.tables import QueryImage, ago
from umbel.base.types import Box, Vector

STORED = np.dtype("<f4")  # how a vector lies in its row


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a query picture: a vector under a model version, or an error (code, detail)."""

    model_version_id: UUID | None
    vector: Vector | None
    error: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Picture:
    """What is to be embedded. image: file bytes, or the key of a blob. box: only this part of it."""

    image: bytes | str
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Pictures to embed with the version that searches use now; None while there is none."""

    version_id: UUID | None
    images: dict[UUID, Picture]


# A stored image is named by its blob, and has no bytes here.
LEAVE = "INSERT INTO query_image (id, image, blob_key, box) VALUES (%s, %s, %s, %s)"


def insert_queries(images: Mapping[UUID, Picture]) -> None:
    """Leave pictures, under ids of the caller's choice: who listens for an answer must know them before."""
    run_prepared(LEAVE, *[(query_id, *_columns(picture)) for query_id, picture in images.items()])


def _columns(picture: Picture) -> tuple[bytes, str | None, list[float] | None]:
    box = list(map(float, picture.box)) if picture.box else None
    return (b"", picture.image, box) if isinstance(picture.image, str) else (picture.image, None, box)


# Take the oldest free images, and tell by which version they are to be embedded.
CLAIM = """
WITH free AS (
    SELECT id FROM query_image WHERE claimed_at IS NULL ORDER BY created_at, id LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE query_image q SET claimed_at = now() FROM free WHERE q.id = free.id
RETURNING q.id, q.image, q.blob_key, q.box, (SELECT id FROM model_version WHERE state = 'active')
"""


def claim_queries(limit: int) -> Asked:
    """Up to `limit` waiting pictures, oldest first."""
    rows = run_prepared(CLAIM, [limit])
    pictures = {query_id: Picture(key or image, Box(*box) if box else None) for query_id, image, key, box, _ in rows}
    return Asked(rows[0][-1] if rows else None, pictures)


def answer_queries(version_id: UUID, vectors: Mapping[UUID, Vector]) -> None:
    """Store the vectors; those who wait are notified."""
    run_prepared(
        "UPDATE query_image SET model_version_id = %s, vector = %s WHERE id = %s",
        *[(version_id, vector.astype(STORED).tobytes(), query_id) for query_id, vector in vectors.items()],
    )


def refuse_queries(errors: Mapping[UUID, tuple[str, str]]) -> None:
    """Store why pictures got no vector, as (code, detail)."""
    run_prepared(
        "UPDATE query_image SET error_code = %s, error_detail = %s WHERE id = %s",
        *[(*error, query_id) for query_id, error in errors.items()],
    )


def release_queries(queries: Sequence[UUID]) -> None:
    """Give claimed pictures back."""
    run_prepared("UPDATE query_image SET claimed_at = NULL WHERE id = ANY (%s)", [list(queries)])


def take_answer(query_id: UUID) -> Answer | None:
    """The answer, its row removed; None while there is none."""
    rows = run_prepared(
        "DELETE FROM query_image WHERE id = %s AND num_nonnulls(vector, error_code) > 0"
        " RETURNING model_version_id, vector, error_code, error_detail",
        [query_id],
    )
    if not rows:
        return None
    [(version_id, stored, code, detail)] = rows
    vector = None if stored is None else np.frombuffer(stored, STORED).astype(np.float32)
    return Answer(version_id, vector, code and (code, detail))


def delete_queries(queries: Sequence[UUID]) -> None:
    """Forget pictures."""
    run_prepared("DELETE FROM query_image WHERE id = ANY (%s)", [list(queries)])


def delete_old_queries(session: Session, seconds: float) -> int:
    """Forget the pictures whose askers have gone."""
    old = delete(QueryImage).where(QueryImage.created_at < ago(seconds))
    return session.execute(old).rowcount  # type: ignore[attr-defined]


def release_unanswered_queries(session: Session, seconds: float) -> bool:
    """Free the pictures whose worker died holding them; True if any picture waits to be claimed."""
    session.execute(
        update(QueryImage)
        .where(QueryImage.claimed_at < ago(seconds), QueryImage.vector.is_(None), QueryImage.error_code.is_(None))
        .values(claimed_at=None)
    )
    return bool(session.scalar(select(func.count()).where(QueryImage.claimed_at.is_(None))))
