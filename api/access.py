"""Authorization: each request is checked against what its route needs (api/needs.py)."""

import hmac
from collections.abc import Iterable, Sequence
from typing import overload
from urllib.parse import urlsplit
from uuid import UUID

from flask import current_app, request

from api import audit, signatures
from api.caller import called_by_key, caller
from api.needs import NEEDS, STRICTEST, Where
from api.proxies import is_own
from umbel.access.keys import KeyScope
from umbel.base.caller import set_api_key_id
from umbel.base.database import transaction
from umbel.base.errors import CrossSite, Forbidden, UnknownHost
from umbel.base.hosts import is_listed
from umbel.base.settings import is_loopback
from umbel.events import webhooks
from umbel.gallery import images
from umbel.gallery.upload import DEFAULT_COLLECTION
from umbel.imports.sources import is_below
from umbel.imports.sync import syncs
from umbel.jobs import jobs
from umbel.operations import job_overviews, job_rules

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
CSRF_HEADER = "X-CSRF-Token"


def check() -> None:
    """As `admit`; what is to be audited is recorded."""
    admit()
    need = NEEDS.get(request.endpoint or "static", STRICTEST)
    if need is not None and (need.audited or need.scope is KeyScope.ADMIN) and request.method not in SAFE_METHODS:
        audit.begin()


def admit() -> None:
    """Raises Unauthenticated, Forbidden, BadSignature, CrossSite; NotFound for what the caller's key may not see."""
    set_api_key_id(None)
    if request.endpoint is None or request.method == "OPTIONS":
        return  # no route, or only a list of methods
    refuse_other_hosts()
    refuse_other_sites()
    need = NEEDS.get(request.endpoint, STRICTEST)
    if need is None or (request.endpoint == "health.metrics" and current_app.config["OPEN_METRICS"]):
        return
    who = signatures.admit() if signatures.is_signed() else caller()
    set_api_key_id(who.key_id)
    if who.token is not None and request.method not in SAFE_METHODS:
        check_csrf_token(request.headers.get(CSRF_HEADER, ""))
    if not (need.uploaders and who.scope is KeyScope.UPLOAD):
        check_scope(need.scope)
    _check_place(need.where)
    if need.controls:
        _check_control((request.view_args or {})["job_id"])


def check_scope(needed: KeyScope) -> None:
    """Raises Forbidden unless the caller's key has this scope."""
    who = caller()
    if not who.scope.includes(needed):
        raise Forbidden(f"This needs a key of the scope {needed}; {who.name} has {who.scope}.")


def refuse_other_hosts() -> None:
    """Raises UnknownHost for a name that is not the API's own, as in DNS rebinding.

    Probes of /healthz and /readyz may use any address.
    """
    allowed: Sequence[str] = current_app.config["HOSTS"]
    if request.endpoint not in ("health.alive", "health.ready") and not _is_one_of(request.host, allowed):
        raise UnknownHost(
            f"The API is not called {request.headers.get('Host', '')[:100]!r}. If it should be, add the name, or the"
            " network of the address, to UMBEL_ALLOWED_HOSTS."
        )


def _is_one_of(host: str, allowed: Sequence[str]) -> bool:
    """Whether a Host header names the loopback or one of `allowed`, see the setting."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    return is_loopback(name) or is_listed(name, allowed)


def refuse_other_sites() -> None:
    """Raises CrossSite for a change that a browser sends for a page of another site.

    So other sites can neither use an API that is open on its user's machine nor sign users in or out.
    """
    if request.method in SAFE_METHODS or called_by_key():
        return
    origin = request.headers.get("Origin")
    # What the browser itself says counts, whatever a proxy did to Host; it says nothing to plain http:// addresses.
    said = request.headers.get("Sec-Fetch-Site")
    ours = said in ("same-origin", "none") if said is not None else origin is None or is_own(origin)
    if not ours and origin not in current_app.config["CORS_ORIGINS"]:
        raise CrossSite(
            f"A page of another site may not do this. Its origin is {(origin or 'unknown')[:100]!r}, and the API was"
            f" called as {request.host[:100]!r}; a proxy between them must pass on Host with its port."
        )


def check_csrf_token(given: str) -> None:
    """Raises CrossSite unless a browser that is signed in sends the token of its session."""
    expected = caller().csrf_token
    if expected is not None and not hmac.compare_digest(given.encode(), expected.encode()):
        raise CrossSite(f"A signed-in browser must send the token of GET /v1/session as {CSRF_HEADER}.")


def _check_place(where: Where) -> None:
    arguments = request.view_args or {}
    match where:
        case Where.JOB:
            check_job(arguments["job_id"])
        case _ if reach() is None:
            return
        case Where.PATH:
            within(arguments["name"])
        case Where.IMAGE:
            check_images([arguments["image_id"]])
        case Where.WEBHOOK:
            with transaction() as session:
                webhooks.check_webhook_in(session, arguments["webhook_id"], reach() or ())
        case Where.SYNC:
            with transaction() as session:
                syncs.check_sync_in(session, arguments["sync_id"], reach() or ())
        case Where.ALL:
            raise Forbidden(f"This concerns all collections; {caller().name} is for {_listed(reach() or ())}.")


def reach() -> frozenset[str] | None:
    """The collections that the caller may see; None: all."""
    return caller().collections


@overload
def within(name: str) -> str: ...
@overload
def within(name: str | None) -> str | None: ...
def within(name: str | None) -> str | None:
    """The collection that a request names; without a name, a single-collection key uses its own.

    None: all collections, for a caller that may see all. Raises Forbidden.
    """
    allowed = reach()
    if allowed is None or name in allowed:
        return name
    if name is not None:
        raise Forbidden(f"{caller().name} is for {_listed(allowed)}, not for {name}.")
    if len(allowed) > 1:
        raise Forbidden(f"{caller().name} is for {_listed(allowed)}: name one of them as `collection`.")
    return next(iter(allowed))


def into(name: str | None) -> str:
    """The collection that a request adds to: the named one, the key's own, or the default one. Raises Forbidden."""
    return within(name) or DEFAULT_COLLECTION


def check_import_from(place: str | None) -> None:
    """Raises Forbidden for a folder or bucket of the server that the caller's key may not import from."""
    who = caller()
    if place is not None and who.import_roots is not None and not is_below(place, who.import_roots):
        raise Forbidden(f"Of the server's folders and buckets, {who.name} may read {_listed(who.import_roots)}.")


def check_images(image_ids: Sequence[UUID]) -> None:
    """Raises NotFound for an image that the caller may not see, as if it were not there."""
    if (allowed := reach()) is not None:
        with transaction() as session:
            images.check_images_in(session, image_ids, allowed)


def check_job(job_id: UUID) -> None:
    """Raises NotFound for a job that the caller may not see, as if it were not there."""
    who = caller()
    if who.collections is not None or who.scope is KeyScope.UPLOAD:
        begun_by = who.key_id if who.scope is KeyScope.UPLOAD else None
        with transaction() as session:
            job_overviews.check_job_in(session, job_id, who.collections, begun_by=begun_by)


def _check_control(job_id: UUID) -> None:
    """Raises Forbidden for a job that takes a higher scope than its action alone, NotFound."""
    with transaction() as session:
        job = jobs.get_job(session, job_id)
        collection = jobs.find_collection_name(session, job_id)
        needed = job_rules.scope_for(session, job)
    audit.note(type=job.type, collection=collection)
    check_scope(needed)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
