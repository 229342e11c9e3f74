"""/signin and /v1/session: sign a browser in with a key, and out."""

import secrets
from datetime import timedelta
from typing import Any

from apiflask import APIBlueprint
from flask import Response, current_app, g, redirect, render_template, request
from pydantic import BaseModel, Field

from api.access import CSRF_HEADER, check_csrf_token
from api.attempts import presenting
from api.caller import COOKIE, Caller, caller, caller_of
from api.errors import problems
from api.fields import Strict
from api.signin_texts import texts_for
from umbel.access import sessions
from umbel.access.keys import KeyScope, authenticate
from umbel.base.database import transaction
from umbel.base.errors import Forbidden, RateLimited, UmbelError, Unauthenticated
from umbel.base.settings import settings

bp = APIBlueprint("session", __name__, tag="Session")


class SessionIn(Strict):
    key: str = Field(max_length=200, description="A key, as `umbel keys create` showed it.")


class SessionOut(BaseModel):
    signed_in: bool = Field(description="With a key, by a cookie or in the request itself.")
    keys_required: bool = Field(description="Whether this service answers only to keys.")
    name: str | None = Field(description="Of the key.")
    scope: KeyScope | None = Field(description="What the caller may do; null: nothing before signing in.")
    collections: list[str] | None = Field(description="Those that the key is for; null: all.")
    import_roots: list[str] | None = Field(
        description="What of the server the key may import from; null: all its roots."
    )
    trash_days: int = Field(description="How long removed images can be restored; 0: not at all.", examples=[7])
    csrf_token: str | None = Field(description="A browser that is signed in sends it with changes, as X-CSRF-Token.")


@bp.get("/v1/session")
@bp.output(SessionOut)
@bp.doc(operation_id="describe_session")
def describe() -> Any:
    """Describe the caller, its permissions, and the token that a browser sends along with changes."""
    return _described(_signed_in())


@bp.post("/v1/session")
@bp.input(SessionIn, arg_name="body")
@bp.output(SessionOut, status_code=201, description="Signed in: the cookie stands for the key")
@bp.doc(responses=problems(401, 403, 429))
def sign_in(body: SessionIn) -> Any:
    """Sign a browser in with a key. Scripts and other sites cannot read its cookie."""
    who = _open_session(body.key)
    response = current_app.make_response((_described(who).model_dump(mode="json"), 201))
    return _with_cookie(response, who)


@bp.delete("/v1/session")
@bp.output({}, status_code=204)
@bp.doc(responses=problems(403))
def sign_out() -> Any:
    """Sign the browser out."""
    return _signed_out(current_app.make_response(("", 204)), request.headers.get(CSRF_HEADER, ""))


@bp.get("/signin")
@bp.doc(hide=True)
def page() -> Any:
    """The form to sign in, or who is signed in and a button to sign out."""
    return _form()


@bp.post("/signin")
@bp.doc(hide=True)
def sign_in_by_form() -> Any:
    """Sign in without scripts."""
    try:
        who = _open_session(request.form.get("key", "").strip())
    except (Unauthenticated, Forbidden) as error:
        return _form(error), 401 if isinstance(error, Unauthenticated) else 403
    except RateLimited as error:
        return _form(error), 429, {"Retry-After": str(error.retry_after)}
    return _with_cookie(redirect("./", 303), who)  # type: ignore[arg-type]


@bp.post("/signout")
@bp.doc(hide=True)
def sign_out_by_form() -> Any:
    """Sign out without scripts."""
    return _signed_out(redirect("signin", 303), request.form.get("csrf_token", ""))  # type: ignore[arg-type]


@bp.after_request
def _keep_nothing(response: Response) -> Response:
    """Of who is signed in, and with which token, no cache keeps anything."""
    response.headers["Cache-Control"] = "no-store"
    return response


def _signed_in() -> Caller | None:
    try:
        return caller()
    except Unauthenticated:  # also a browser whose key was revoked meanwhile
        return None


def _described(who: Caller | None) -> SessionOut:
    return SessionOut(
        signed_in=who is not None and who.key_id is not None,
        keys_required=current_app.config["REQUIRE_KEYS"],
        name=who and who.name,
        scope=who and who.scope,
        collections=sorted(who.collections) if who and who.collections is not None else None,
        import_roots=list(who.import_roots) if who and who.import_roots is not None else None,
        trash_days=settings().trash_days,
        csrf_token=who and who.csrf_token,
    )


def _form(error: UmbelError | None = None) -> str:
    language, texts = texts_for(request)
    why = error and texts.get(error.code, error.detail)
    return render_template("signin.html", who=_signed_in(), error=why, language=language, texts=texts)


def _open_session(key: str) -> Caller:
    """Raises Unauthenticated, Forbidden, RateLimited."""
    token = secrets.token_urlsafe(32)
    with presenting(key), transaction() as session:
        row = authenticate(session, key)
        if row.scope == KeyScope.UPLOAD:
            raise Forbidden(
                "This key is for programs that upload: it may look at nothing, so the page is of no use to it."
            )
        sessions.open_session(session, token, row.id, lasts=_lasts())
    g.caller = caller_of(row, token)
    return caller()


def _with_cookie(response: Response, who: Caller) -> Response:
    response.set_cookie(
        COOKIE,
        who.token or "",
        path=request.script_root or "/",
        max_age=_lasts(),
        httponly=True,
        samesite="Strict",
        secure=request.is_secure,
    )
    return response


def _signed_out(response: Response, csrf_token: str) -> Response:
    who = _signed_in()
    if who is not None and who.token is not None:
        check_csrf_token(csrf_token)
        with transaction() as session:
            sessions.close_session(session, who.token)
    path = request.script_root or "/"
    response.delete_cookie(COOKIE, path=path, httponly=True, samesite="Strict", secure=request.is_secure)
    response.headers["Clear-Site-Data"] = '"cache"'  # the pictures that were shown, which are kept for long
    return response


def _lasts() -> timedelta:
    return timedelta(hours=settings().session_hours)
