"""Recall of an index as it was measured: kept, and the newest shown."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from umbel.base.tables import RecallReport
from umbel.models.partitions import partition_name


def sample_images(session: Session, version_id: UUID, count: int) -> list[UUID]:
    """Up to `count` embedded images, any as likely as any other."""
    statement = text(f"SELECT image_id FROM {partition_name(version_id)} ORDER BY random() LIMIT :n")
    return list(session.scalars(statement, {"n": count}))


def insert_report(session: Session, **values: Any) -> RecallReport:
    return session.execute(insert(RecallReport).values(values).returning(RecallReport)).scalar_one()


def list_reports(session: Session, *, before: UUID | None, limit: int) -> Sequence[RecallReport]:
    """Newest first (ids are UUIDv7)."""
    statement = select(RecallReport).order_by(RecallReport.id.desc()).limit(limit)
    return session.scalars(statement if before is None else statement.where(RecallReport.id < before)).all()


def count_embeddings(session: Session, version_id: UUID) -> int:
    return session.execute(text(f"SELECT count(*) FROM {partition_name(version_id)}")).scalar_one()
