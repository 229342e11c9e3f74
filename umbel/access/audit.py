"""The audit log: what administrators did, recorded before the action runs."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from umbel.base.tables import AuditEvent


@dataclass(frozen=True, slots=True)
class NewEvent:
    """actor: the key's name; action: a stable word; target: what the action changed."""

    actor: str
    action: str
    target: str
    api_key_id: UUID | None = None
    details: dict[str, Any] = field(default_factory=dict)
    status: int | None = None
    request_id: str | None = None
    address: str | None = None


def insert_event(session: Session, event: NewEvent) -> UUID:
    """Write an event into the audit log; its id."""
    values = {name: getattr(event, name) for name in NewEvent.__slots__}
    return session.execute(insert(AuditEvent).values(values).returning(AuditEvent.id)).scalar_one()


def finish_event(session: Session, event_id: UUID, status: int, details: dict[str, Any]) -> None:
    """Record the outcome of an action."""
    session.execute(update(AuditEvent).where(AuditEvent.id == event_id).values(status=status, details=details))


def list_events(session: Session, *, before: UUID | None, limit: int) -> list[AuditEvent]:
    """Up to `limit` events, newest first."""
    statement = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(AuditEvent.id < before)
    return list(session.scalars(statement))


def delete_old_events(session: Session, days: int) -> int:
    """Delete events older than `days`; how many."""
    statement = delete(AuditEvent).where(AuditEvent.at < func.now() - timedelta(days=days))
    return session.execute(statement).rowcount  # type: ignore[attr-defined]
