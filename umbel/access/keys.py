"""API keys: how one looks, what is stored of it, and creating, revoking and checking one."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from umbel.access import audit
from umbel.access.audit import NewEvent
from umbel.base.errors import InvalidInput, NotFound, Unauthenticated
from umbel.base.settings import is_import_root
from umbel.base.tables import ApiKey, WebSession

KEY = re.compile(r"umbel_([0-9a-f]{12})_[0-9a-f]{64}")  # one fixed shape, so that secret scanners recognize it
ALL_ROOTS = ("all",)
TOUCHED_EVERY = timedelta(minutes=1)  # so that not every request writes


class KeyScope(StrEnum):
    """What a key allows."""

    READ = "read"  # list, search
    UPLOAD = "upload"  # add images and follow them; look at nothing
    WRITE = "write"  # both, and change and remove images
    ADMIN = "admin"  # all: also models, quotas, removing collections, the audit log

    def includes(self, other: "KeyScope") -> bool:
        return other in INCLUDED[self]


INCLUDED = {
    KeyScope.READ: {KeyScope.READ},
    KeyScope.UPLOAD: {KeyScope.UPLOAD},
    KeyScope.WRITE: {KeyScope.READ, KeyScope.UPLOAD, KeyScope.WRITE},
    KeyScope.ADMIN: set(KeyScope),
}


def create_key(
    session: Session,
    *,
    name: str,
    scope: KeyScope,
    collections: Sequence[str] = (),
    import_roots: Sequence[str] | None = None,
    lasts: timedelta | None = None,
    actor: str | None,
) -> tuple[str, ApiKey]:
    """A new key: its text, which is not stored, and its row. Raises InvalidInput.

    collections: the names the key is for, whether they exist yet or not; all if empty.
    import_roots: folders and s3:// prefixes of the server that it may import from, below the server's import roots;
    `ALL_ROOTS`: all of them; None: none for a key that is for some collections, else all.
    actor: who makes it, for the audit log; None: the log has it already, as it has each request of an administrator.
    """
    if import_roots is None:
        import_roots = () if collections else ALL_ROOTS
    import_roots = tuple(import_roots)
    for root in import_roots:
        if import_roots != ALL_ROOTS and not is_import_root(root):
            raise InvalidInput(f"{root!r} is neither an absolute folder nor an s3://bucket/prefix URL.")
    if lasts is not None and lasts <= timedelta():
        raise InvalidInput("A key must last longer than no time at all.")
    text = new_key()
    prefix = text.split("_")[1]
    until = None if lasts is None else datetime.now(UTC) + lasts
    allowed = sorted(set(collections)) or None
    roots = None if import_roots == ALL_ROOTS else sorted(set(import_roots))
    row = ApiKey(
        name=name,
        prefix=prefix,
        sha256=digest(text),
        scope=scope,
        collections=allowed,
        import_roots=roots,
        expires_at=until,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    if actor is not None:
        audit.insert_event(session, NewEvent(actor, "keys.create", named(row), details=described(row)))
    return text, row


def revoke_key(session: Session, prefix: str, *, actor: str | None) -> ApiKey:
    """End the key with this public part, and its browser sessions. Twice is harmless. Raises NotFound.

    actor: as for `create_key`.
    """
    row = find_key(session, prefix)
    if row is None:
        raise NotFound(f"There is no key {prefix!r}.")
    at = func.coalesce(ApiKey.revoked_at, func.now())
    session.execute(update(ApiKey).where(ApiKey.id == row.id).values(revoked_at=at))
    session.execute(delete(WebSession).where(WebSession.api_key_id == row.id))
    session.refresh(row)
    if actor is not None:
        audit.insert_event(session, NewEvent(actor, "keys.revoke", named(row)))
    return row


def named(row: ApiKey) -> str:
    """A key as logs name it: for people, and by its public part."""
    return f"{row.name} ({row.prefix})"


def described(row: ApiKey) -> dict[str, Any]:
    """What a key allows, for the audit log."""
    until = row.expires_at and row.expires_at.isoformat()
    allowed = {name: getattr(row, name) for name in ("scope", "collections", "import_roots")}
    return {**allowed, "expires_at": until}


def list_keys(session: Session, *, before: UUID | None = None, limit: int | None = None) -> list[ApiKey]:
    """Keys, newest first, revoked ones too. limit: None: all."""
    statement = select(ApiKey).order_by(ApiKey.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(ApiKey.id < before)
    return list(session.scalars(statement))


def list_valid_keys(session: Session, key_ids: Collection[UUID]) -> set[UUID]:
    """Those of the keys that are neither revoked nor expired."""
    if not key_ids:
        return set()
    lasting = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now())
    return set(session.scalars(select(ApiKey.id).where(ApiKey.id.in_(key_ids), ApiKey.revoked_at.is_(None), lasting)))


def authenticate(session: Session, text: str) -> ApiKey:
    """The row of the key with this text. Raises Unauthenticated."""
    prefix = prefix_of(text)
    row = find_key(session, prefix) if prefix else None
    # An unknown key is compared too, so that the time does not tell which public parts exist.
    if not hmac.compare_digest(digest(text), row.sha256 if row else bytes(32)) or row is None:
        raise Unauthenticated("This is not a key of this service.")
    return check_valid(session, row)


def check_valid(session: Session, row: ApiKey) -> ApiKey:
    """The same key; its use is recorded, to the minute. Raises Unauthenticated for a revoked or expired one."""
    now = datetime.now(UTC)
    if row.revoked_at is not None:
        raise Unauthenticated(f"The key {row.name!r} was revoked.")
    if row.expires_at is not None and row.expires_at <= now:
        raise Unauthenticated(f"The key {row.name!r} expired on {row.expires_at:%Y-%m-%d %H:%M} UTC.")
    if row.last_used_at is None or row.last_used_at < now - TOUCHED_EVERY:
        long_ago = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - TOUCHED_EVERY)
        session.execute(update(ApiKey).where(ApiKey.id == row.id, long_ago).values(last_used_at=func.now()))
    return row


def new_key() -> str:
    """The text of a key: a public part and 256 random bits."""
    return f"umbel_{secrets.token_hex(6)}_{secrets.token_hex(32)}"


def prefix_of(text: str) -> str | None:
    """The public part of a key; None if the text has not the shape of a key."""
    match = KEY.fullmatch(text)
    return match and match[1]


def digest(text: str) -> bytes:
    """What is stored of a secret. A plain hash is enough: 256 random bits can't be guessed."""
    return hashlib.sha256(text.encode()).digest()


def get_key(session: Session, key_id: UUID) -> ApiKey:
    """The key with this id, valid or not. Raises NotFound."""
    row = session.get(ApiKey, key_id)
    if row is None:
        raise NotFound("There is no such key.")
    return row


def find_key(session: Session, prefix: str) -> ApiKey | None:
    """The key that begins with this prefix, valid or not."""
    return session.scalar(select(ApiKey).where(ApiKey.prefix == prefix))
