"""The Flask application: resources, errors, request ids and the log line of each request."""

import time
import uuid
from typing import Any

import structlog
from apiflask import APIFlask
from flask import Response, g, has_request_context, request
from flask_cors import CORS
from limits import parse

from api import (
    access,
    admin,
    audit,
    bulk,
    calibrations,
    collections,
    curation,
    door,
    duplicates,
    embed,
    errors,
    events,
    export,
    facets,
    headers,
    health,
    identify,
    images,
    imports,
    jobs,
    keys,
    label_issues,
    maps,
    models,
    page,
    positions,
    proxies,
    rates,
    search,
    search_batch,
    session,
    signed_urls,
    specification,
    syncs,
    trash,
    upload_limits,
    vectors,
    webhooks,
)
from api.request import UmbelRequest, refuse_encodings
from umbel.base import tracing
from umbel.base.database import limit_connections
from umbel.base.logging import configure_logging
from umbel.base.metrics import REQUESTS
from umbel.base.settings import settings

log = structlog.get_logger()

VERSION = "0.1.0"
RESOURCES = (
    images,
    facets,
    signed_urls,
    bulk,
    syncs,
    trash,
    imports,
    jobs,
    events,
    webhooks,
    search,
    search_batch,
    identify,
    embed,
    export,
    duplicates,
    label_issues,
    curation,
    maps,
    collections,
    calibrations,
    models,
    vectors,
    admin,
    keys,
    health,
    session,
    page,
)
QUIET = ("/healthz", "/readyz", "/metrics")  # requested by machines every few seconds


class Application(APIFlask):
    """Its specification names no host: it is made once, and asked for under several."""

    def _get_spec(self, *args: Any, **options: Any) -> Any:
        spec = super()._get_spec(*args, **options)
        root = request.script_root if has_request_context() else ""
        return {**spec, "servers": [{"url": root or "/"}]} if isinstance(spec, dict) else spec


def create_app() -> APIFlask:
    """The WSGI application of this process's settings."""
    limits = settings()
    configure_logging(limits)
    tracing.configure_tracing(limits, "api")
    limit_connections(statement_seconds=limits.statement_seconds, idle_seconds=limits.idle_transaction_seconds)
    app = Application(
        "umbel",
        title="Umbel",
        version=VERSION,
        spec_path="/openapi.json",
        docs_path=None,  # ours is api/page.py: APIFlask's loads scripts from elsewhere
        static_folder=str(page.STATIC),
        template_folder=str(page.TEMPLATES),
    )
    app.request_class = UmbelRequest
    app.config.update(
        MAX_CONTENT_LENGTH=upload_limits.largest_request(limits),
        MAX_FORM_MEMORY_SIZE=upload_limits.FORM_OVERHEAD,
        VALIDATION_ERROR_DESCRIPTION=errors.INVALID_FIELDS,
        DESCRIPTION="Pictures go in, the most similar pictures come out.",
        AUTO_404_RESPONSE=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,  # routes name their problems themselves
        SYNC_LOCAL_SPEC=False,
        REQUIRE_KEYS=limits.require_keys,
        OPEN_METRICS=limits.open_metrics,
        CORS_ORIGINS=limits.cors_origins,
        PROXIES=limits.proxies,
        HOSTS=(limits.host, *limits.allowed_hosts),
        RATE_LIMIT=parse(limits.rate_limit) if limits.rate_limit else None,
        AUTH_FAILURE_LIMIT=parse(limits.auth_failure_limit),
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    errors.install(app)
    app.url_map.converters["collection"] = collections.NameConverter
    for resource in RESOURCES:
        app.register_blueprint(resource.bp)
    specification.install(app)
    app.before_request(_begin)
    app.before_request(positions.begin)
    app.before_request(door.refuse)
    app.before_request(upload_limits.limit_form)
    app.before_request(refuse_encodings)
    app.before_request(access.check)
    app.before_request(rates.check)
    app.after_request(positions.end)
    app.after_request(_end)
    app.after_request(headers.harden)
    app.after_request(audit.end)
    if limits.cors_origins:
        CORS(app, **headers.cors_options(limits))
    if limits.proxies:
        app.wsgi_app = proxies.behind(app.wsgi_app, limits.proxies)  # type: ignore[method-assign]
    return app


def _begin() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if given.isascii() and given.isprintable() and 0 < len(given) <= 64 else uuid.uuid4().hex
    g.began = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    g.span = None if request.path in QUIET else tracing.begin("request", request.headers.get("traceparent"))
    if traceparent := tracing.traceparent_of(g.span):
        structlog.contextvars.bind_contextvars(traceparent=traceparent)


def _end(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    seconds = time.perf_counter() - g.began
    rule = request.url_rule
    method, route = (request.method, rule.rule) if rule else ("", "")  # a path without a route may be any text
    REQUESTS.labels(method, route, response.status_code).observe(seconds)
    tracing.end(g.span, f"request {method} {route}", request_id=g.request_id, status=response.status_code)
    if request.path not in QUIET:
        took: dict[str, Any] = {"ms": round(seconds * 1000, 1)}
        ids = {name: str(value) for name, value in (request.view_args or {}).items() if name.endswith("_id")}
        log.info("request", method=request.method, path=request.path, status=response.status_code, **ids, **took)
    return response
