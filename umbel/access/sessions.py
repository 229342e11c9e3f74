"""Browser sessions: a cookie's token that stands for the key its user signed in with."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from umbel.access.keys import check_valid, digest
from umbel.base.tables import ApiKey, WebSession


def open_session(session: Session, token: str, key_id: UUID, *, lasts: timedelta) -> None:
    """Store a new browser session; of its token, only the SHA-256."""
    values = {"sha256": digest(token), "api_key_id": key_id, "expires_at": func.now() + lasts}
    session.execute(insert(WebSession).values(values))


def authenticate_session(session: Session, token: str) -> ApiKey | None:
    """The key that a browser signed in with; None when its session has ended. Raises Unauthenticated."""
    statement = select(ApiKey).join(WebSession, WebSession.api_key_id == ApiKey.id)
    row = session.scalar(statement.where(WebSession.sha256 == digest(token), WebSession.expires_at > func.now()))
    return row and check_valid(session, row)


def close_session(session: Session, token: str) -> None:
    """Sign out: the session that this token opens is deleted."""
    session.execute(delete(WebSession).where(WebSession.sha256 == digest(token)))


def delete_expired_sessions(session: Session) -> None:
    """Delete the sessions whose time is over."""
    session.execute(delete(WebSession).where(WebSession.expires_at <= func.now()))


def list_open_sessions(session: Session, hashes: Collection[bytes]) -> set[bytes]:
    """Those of the sessions, by the SHA-256 of their tokens, that have not ended."""
    if not hashes:
        return set()
    statement = select(WebSession.sha256).where(WebSession.sha256.in_(hashes), WebSession.expires_at > func.now())
    return set(session.scalars(statement))
