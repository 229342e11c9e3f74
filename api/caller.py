"""The caller of a request: by its key, by the session of a browser, or anonymous where keys are not required."""

import hashlib
from dataclasses import dataclass
from uuid import UUID

from flask import current_app, g, request

from umbel.access.keys import KeyScope, authenticate
from umbel.access.sessions import authenticate_session
from umbel.base.database import transaction
from umbel.base.errors import Unauthenticated
from umbel.base.tables import ApiKey

COOKIE = "umbel_session"


@dataclass(frozen=True, slots=True)
class Caller:
    """name: of the key; collections: those it is for, None: all; token: of the browser's session."""

    name: str
    scope: KeyScope
    collections: frozenset[str] | None = None
    key_id: UUID | None = None
    token: str | None = None

    @property
    def csrf_token(self) -> str | None:
        """The token that the page sends with each change; only a page of this service can read it."""
        return self.token and hashlib.sha256(f"csrf {self.token}".encode()).hexdigest()


# An API that requires no keys listens on the loopback: its callers are on this machine and may do everything.
ANONYMOUS = Caller("anonymous", KeyScope.ADMIN)


def caller() -> Caller:
    """The caller of this request. Raises Unauthenticated."""
    if "caller" not in g:
        g.caller = _find_caller()
    found: Caller = g.caller
    return found


def called_by_key() -> bool:
    """Whether the request carries a key, which no browser sends by itself."""
    return "Authorization" in request.headers


def _find_caller() -> Caller:
    if called_by_key():
        return _by_key(request.headers["Authorization"])
    if (token := request.cookies.get(COOKIE)) and (found := _by_session(token)):
        return found
    if current_app.config["REQUIRE_KEYS"]:
        raise Unauthenticated("A key is needed: send it as `Authorization: Bearer umbel_…`, or sign in at /signin.")
    return ANONYMOUS


def _by_key(header: str) -> Caller:
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("The header must be `Authorization: Bearer umbel_…`.")
    with transaction() as session:
        return caller_of(authenticate(session, text.strip()))


def _by_session(token: str) -> Caller | None:
    with transaction() as session:
        key = authenticate_session(session, token)
        return caller_of(key, token) if key else None


def caller_of(key: ApiKey, token: str | None = None) -> Caller:
    """The caller that a key stands for. token: of the browser's session that it signed in."""
    reach = None if key.collections is None else frozenset(key.collections)
    return Caller(f"{key.name} ({key.prefix})", KeyScope(key.scope), reach, key.id, token)
