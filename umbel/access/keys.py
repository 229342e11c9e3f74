"""Keys made, revoked, and recognised when somebody calls with one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from umbel.access import audit, key_rows
from umbel.access.audit import NewEvent
from umbel.access.key_format import KeyScope, NewKey, digest, is_secret_of, new_key, prefix_of
from umbel.base.errors import InvalidInput, NotFound, Unauthenticated
from umbel.base.tables import ApiKey

NOBODYS = NewKey("", "", bytes(32))


def create_key(
    session: Session,
    *,
    name: str,
    scope: KeyScope,
    collections: Sequence[str] = (),
    lasts: timedelta | None = None,
    actor: str,
) -> tuple[str, ApiKey]:
    """A new key: its text, which is not kept, and its row. collections: all if empty. Raises InvalidInput."""
    if lasts is not None and lasts <= timedelta():
        raise InvalidInput("A key must last longer than no time at all.")
    key = new_key()
    until = None if lasts is None else datetime.now(UTC) + lasts
    row = key_rows.insert_key(
        session, key, name=name, scope=scope, collections=sorted(set(collections)) or None, expires_at=until
    )
    details = {"scope": str(scope), "collections": row.collections, "expires_at": until and until.isoformat()}
    audit.insert_event(session, NewEvent(actor, "keys.create", f"{name} ({key.prefix})", details=details))
    return key.text, row


def revoke_key(session: Session, prefix: str, *, actor: str) -> ApiKey:
    """The key with this public part is good for nothing from now on. Raises NotFound."""
    row = key_rows.find_key_by_prefix(session, prefix)
    if row is None:
        raise NotFound(f"There is no key {prefix!r}.")
    key_rows.revoke_key(session, row.id)
    session.refresh(row)
    audit.insert_event(session, NewEvent(actor, "keys.revoke", f"{row.name} ({prefix})"))
    return row


def authenticate(session: Session, text: str) -> ApiKey:
    """The key that this text is. Raises Unauthenticated."""
    prefix = prefix_of(text)
    row = key_rows.find_key_by_prefix(session, prefix) if prefix else None
    # Compared also when there is none, so that the time does not tell which public parts exist.
    if not is_secret_of(text, row.sha256 if row else NOBODYS.sha256) or row is None:
        raise Unauthenticated("This is not a key of this service.")
    return _valid(session, row)


def authenticate_session(session: Session, token: str) -> ApiKey | None:
    """The key that a browser signed in with; None when its session is over. Raises Unauthenticated."""
    row = key_rows.find_key_of_web_session(session, digest(token))
    return row and _valid(session, row)


def _valid(session: Session, row: ApiKey) -> ApiKey:
    now = datetime.now(UTC)
    if row.revoked_at is not None:
        raise Unauthenticated(f"The key {row.name!r} was revoked.")
    if row.expires_at is not None and row.expires_at <= now:
        raise Unauthenticated(f"The key {row.name!r} expired on {row.expires_at:%Y-%m-%d %H:%M} UTC.")
    if row.last_used_at is None or row.last_used_at < now - key_rows.TOUCHED_EVERY:
        key_rows.touch_key(session, row.id)
    return row
