"""The caller of a request: by its key, by the session of a browser, or anonymous where keys are not required."""

import hashlib
from dataclasses import dataclass
from uuid import UUID

from flask import current_app, g, request
from werkzeug.sansio.http import parse_cookie

from api.attempts import presenting, trust
from umbel.access.keys import KeyScope, authenticate, named
from umbel.access.sessions import authenticate_session
from umbel.base.database import transaction
from umbel.base.errors import Unauthenticated
from umbel.base.tables import ApiKey

COOKIE = "umbel_session"


@dataclass(frozen=True, slots=True)
class Caller:
    """name: of the key; collections: those it is for, None: all; token: of the browser's session.

    import_roots: what of the server it may import from, None: all.
    """

    name: str
    scope: KeyScope
    collections: frozenset[str] | None = None
    key_id: UUID | None = None
    token: str | None = None
    import_roots: tuple[str, ...] | None = None

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
    return _bearer(request.headers.get("Authorization", "")) is not None


def credential_of(authorization: str, cookie: str) -> str | None:
    """The key or the session's token in these headers: what decides who the caller is."""
    key = _bearer(authorization)
    return parse_cookie(cookie).get(COOKIE) if key is None else key


def _bearer(authorization: str) -> str | None:
    """The key in an Authorization header. Another scheme is none of ours: a proxy asks browsers for a password."""
    scheme, _, text = authorization.partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


def _find_caller() -> Caller:
    authorization = request.headers.get("Authorization", "")
    if (key := _bearer(authorization)) is not None:
        return _by_key(key)
    if (token := request.cookies.get(COOKIE)) and (found := _by_session(token)):
        return found
    if current_app.config["REQUIRE_KEYS"]:
        need = "A key is needed: send it as `Authorization: Bearer umbel_…`, or sign in at /signin."
        raise Unauthenticated(f"{need} The header Authorization has another scheme." if authorization else need)
    return ANONYMOUS


def _by_key(key: str) -> Caller:
    with presenting(key), transaction() as session:
        return caller_of(authenticate(session, key))


def _by_session(token: str) -> Caller | None:
    with transaction() as session:
        key = authenticate_session(session, token)
    if key is None:
        return None
    trust(token)
    return caller_of(key, token)


def caller_of(key: ApiKey, token: str | None = None) -> Caller:
    """The caller that a key stands for. token: of the browser's session that it signed in."""
    reach = None if key.collections is None else frozenset(key.collections)
    roots = None if key.import_roots is None else tuple(key.import_roots)
    return Caller(named(key), KeyScope(key.scope), reach, key.id, token, roots)
