"""API keys, and the browser sessions that were opened with them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from umbel.access.key_format import KeyScope, NewKey
from umbel.base.errors import NotFound
from umbel.base.tables import ApiKey, WebSession

TOUCHED_EVERY = timedelta(minutes=1)  # not a write for every request


def insert_key(
    session: Session,
    key: NewKey,
    *,
    name: str,
    scope: KeyScope,
    collections: Sequence[str] | None,
    expires_at: datetime | None,
) -> ApiKey:
    """A new key. collections: the names it is for, whether they are there yet or not; None: all."""
    values = {
        "name": name,
        "prefix": key.prefix,
        "sha256": key.sha256,
        "scope": scope,
        "collections": None if collections is None else list(collections),
        "expires_at": expires_at,
    }
    return session.scalars(insert(ApiKey).values(values).returning(ApiKey)).one()


def find_key_by_prefix(session: Session, prefix: str) -> ApiKey | None:
    return session.scalar(select(ApiKey).where(ApiKey.prefix == prefix))


def list_keys(session: Session) -> list[ApiKey]:
    """All keys, newest first."""
    return list(session.scalars(select(ApiKey).order_by(ApiKey.id.desc())))


def revoke_key(session: Session, key_id: UUID) -> None:
    """It is good for nothing from now on, nor are its sessions. Twice is harmless. Raises NotFound."""
    revoked = update(ApiKey).where(ApiKey.id == key_id)
    at = func.coalesce(ApiKey.revoked_at, func.now())
    if not session.execute(revoked.values(revoked_at=at)).rowcount:  # type: ignore[attr-defined]
        raise NotFound(f"There is no key {key_id}.")
    session.execute(delete(WebSession).where(WebSession.api_key_id == key_id))


def touch_key(session: Session, key_id: UUID) -> None:
    """Note that the key is in use, to the minute."""
    long_ago = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - TOUCHED_EVERY)
    session.execute(update(ApiKey).where(ApiKey.id == key_id, long_ago).values(last_used_at=func.now()))


def insert_web_session(session: Session, sha256: bytes, key_id: UUID, *, lasts: timedelta) -> None:
    session.execute(insert(WebSession).values(sha256=sha256, api_key_id=key_id, expires_at=func.now() + lasts))


def find_key_of_web_session(session: Session, sha256: bytes) -> ApiKey | None:
    """The key that the browser signed in with; None when its session is over or was never there."""
    statement = select(ApiKey).join(WebSession, WebSession.api_key_id == ApiKey.id)
    return session.scalar(statement.where(WebSession.sha256 == sha256, WebSession.expires_at > func.now()))


def delete_web_session(session: Session, sha256: bytes) -> None:
    session.execute(delete(WebSession).where(WebSession.sha256 == sha256))


def delete_expired_web_sessions(session: Session) -> None:
    session.execute(delete(WebSession).where(WebSession.expires_at <= func.now()))
