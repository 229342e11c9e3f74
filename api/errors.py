"""Errors as RFC 9457 problem+json. One table says which error has which status; nothing else does."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import structlog
from apiflask import APIFlask
from apiflask.exceptions import HTTPError
from flask import Response, g, json, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import HTTPException

from api.spool import is_no_room
from umbel.base import errors

log = structlog.get_logger()

T = TypeVar("T")

STATUS: dict[type[errors.UmbelError], int] = {
    errors.UmbelError: 500,
    errors.InvalidInput: 422,
    errors.CursorMismatch: 422,
    errors.NotFound: 404,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.BadSignature: 403,
    errors.CrossSite: 403,
    errors.UnknownHost: 400,
    errors.Conflict: 409,
    errors.CursorExpired: 409,
    errors.ActionRefused: 409,
    errors.TooFewLabels: 409,
    errors.ExternalIdTaken: 409,
    errors.IdempotencyKeyReused: 409,
    errors.PreconditionFailed: 412,
    errors.NotReady: 503,
    errors.NotInstalled: 501,
    errors.TimedOut: 503,
    errors.Busy: 503,
    errors.NotEmbedded: 409,
    errors.QueueUnavailable: 503,
    errors.TransientError: 503,
    errors.Unreachable: 502,
    errors.SourceUnreachable: 503,
    errors.SourceGivenUp: 422,
    errors.QueueFull: 429,
    errors.RateLimited: 429,
    errors.StorageFull: 507,
    errors.QuotaExceeded: 507,
    errors.ModelNotFound: 503,
    errors.BadCheckpoint: 422,
    errors.BadVectors: 422,
    errors.BadDataset: 422,
    errors.InvalidSetting: 500,
    errors.StackError: 503,
    errors.DumpFailed: 503,
    errors.BackupError: 422,
    errors.ImageError: 415,
    errors.EmptyFile: 422,
    errors.FileTooLarge: 413,
    errors.UnsupportedImage: 415,
    errors.TooManyPixels: 413,
    errors.ImageTooSmall: 422,
    errors.CorruptImage: 415,
    errors.BlobMissing: 404,
    errors.UnsafePath: 422,
    errors.Unreadable: 422,
    errors.NestedArchive: 415,
    errors.ArchiveBomb: 413,
    errors.CorruptEntry: 422,
    errors.BadManifestLine: 422,
    errors.AddressRefused: 422,
    errors.SourceError: 422,
    errors.TooManyVanished: 422,
    errors.SourceTooLarge: 413,
    errors.UnsupportedArchive: 415,
    errors.UnsupportedManifest: 415,
    errors.BadManifest: 422,
    errors.DecoderDied: 422,
}
# What HTTP itself refuses, by its status: the code and what it means. Phrases of statuses depend on Python's version.
BY_STATUS: dict[int, tuple[str, str]] = {
    400: ("bad_request", "The request is malformed: no JSON, a form that is cut short, a header that cannot be read."),
    404: ("not_found", "No such path, image, job, collection or model version."),
    405: ("method_not_allowed", "The path does not take this method; `Allow` names those it takes."),
    408: ("request_timeout", "The request arrived too slowly: see `UMBEL_SLOW_SECONDS`."),
    413: ("content_too_large", "The body is larger than its route takes."),
    415: ("unsupported_media_type", "The body is of another type than its route takes, or has a `Content-Encoding`."),
    416: ("requested_range_not_satisfiable", "The `Range` begins behind the end; `Content-Range` has the length."),
    417: ("expectation_failed", "A header `Expect` other than `100-continue`."),
    431: ("request_header_fields_too_large", "The header of the request is too large."),
    500: ("internal_error", "A fault of the service: report it, with the log line of the `request_id`."),
    501: ("not_implemented", "A `Transfer-Encoding` other than `chunked`."),
    507: (errors.StorageFull.code, "There is no room for the request."),
}
INVALID_FIELDS = "The request has fields that cannot be taken."
NO_ROOM = "The server has no room for the request."
PROBLEM = {"$ref": "#/components/schemas/ProblemOut"}
RETRY_AFTER_SECONDS = {503: "2", 429: "5"}


class ProblemOut(BaseModel):
    """RFC 9457, with a code for programs and the faults of single fields."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(
        description="Leads to what the code means, on a page of this service.", examples=["/errors#invalid_input"]
    )
    title: str = Field(description="The status in words.", examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str = Field(description="For people.", examples=["The request has fields that cannot be taken."])
    instance: str = Field(description="The path that was asked for.", examples=["/v1/search"])
    code: str = Field(description="Stable; for programs.", examples=["invalid_input"])
    errors: dict[str, Any] = Field(
        description="{place: {field: [messages]}} where single fields are at fault.",
        examples=[{"body": {"k": ["Input should be less than or equal to 1000"]}}],
    )
    request_id: str | None = Field(
        description="The X-Request-ID of the answer, to be found in the log.", examples=["0f8e5c0a"]
    )


def status_of(error: errors.UmbelError) -> int:
    """The status that an error is answered with."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem_body(
    status: int,
    detail: str,
    *,
    instance: str,
    request_id: str | None,
    code: str | None = None,
    errors: Any = None,
    below: str = "",
) -> dict[str, Any]:
    """A problem by RFC 9457. code: unset, the one of the status; below: the path that a proxy serves this API under."""
    code = code or _code(status)
    return {
        "type": f"{below}/errors#{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "errors": errors or {},
        "request_id": request_id,
    }


def problem(
    status: int, code: str, detail: str, *, errors: Any = None, headers: Mapping[str, str] | None = None
) -> Response:
    """A problem+json answer. errors: {place: {field: [messages]}} where single fields are at fault."""
    structlog.contextvars.bind_contextvars(code=code)  # for the log line of the request
    body = problem_here(status, code, detail, errors=errors)
    answer = Response(json.dumps(body), status, headers, content_type="application/problem+json")
    if status in RETRY_AFTER_SECONDS:
        answer.headers.setdefault("Retry-After", RETRY_AFTER_SECONDS[status])
    return answer


def problem_here(status: int, code: str, detail: str, *, errors: Any = None) -> dict[str, Any]:
    """A problem of the present request, or of a part of it."""
    below, request_id = request.script_root, g.get("request_id")
    path = f"{below}{request.path}"
    return problem_body(status, detail, code=code, errors=errors, instance=path, request_id=request_id, below=below)


def problems(*statuses: int) -> Any:
    """For `bp.doc(responses=…)`: the problems that a route can answer with."""
    content = {"application/problem+json": {"schema": PROBLEM}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def also(status: int, description: str, schema: str) -> Any:
    """For `bp.doc(responses=…)`: one more JSON answer, with the schema of that name."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {status: {"description": description, "content": content}}


def answers(description: str, media_type: str, *statuses: int) -> Any:
    """For `bp.doc(responses=…)`: an answer that is not JSON, and the problems that a route can answer with."""
    schema = {"type": "string", "format": "binary"}
    return {200: {"description": description, "content": {media_type: {"schema": schema}}}, **problems(*statuses)}


def validated(validate: Callable[[Any], T], body: Any) -> T:
    """The validated body, for routes that take more than one kind. Raises HTTPError: 422."""
    try:
        return validate(body)
    except ValidationError as error:
        fields: dict[str, list[str]] = {}
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            fields.setdefault(".".join(map(str, each["loc"])) or "body", []).append(each["msg"])
        raise HTTPError(422, INVALID_FIELDS, {"body": fields}) from error


def install(app: APIFlask) -> None:
    """Answer every error as a problem."""

    @app.errorhandler(errors.UmbelError)
    def ours(error: errors.UmbelError) -> Response:
        status = status_of(error)
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        if isinstance(error, errors.NotEmbedded):
            headers["Retry-After"] = RETRY_AFTER_SECONDS[503]
        if isinstance(error, errors.RateLimited):
            headers["Retry-After"] = str(error.retry_after)
        return problem(status, error.code, error.detail, headers=headers)

    @app.error_processor
    def validation(error: HTTPError) -> Response:
        code = "invalid_input" if error.status_code == 422 else _code(error.status_code)
        return problem(error.status_code, code, error.message or "", errors=error.detail)

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = error.code or 500
        headers = {k: v for k, v in error.get_headers() if k in ("Allow", "Content-Range", "Retry-After")}
        return problem(status, _code(status), error.description or "", headers=headers)

    @app.errorhandler(OSError)
    def no_room(error: OSError) -> Response:
        if is_no_room(error):
            return problem(507, errors.StorageFull.code, NO_ROOM)
        return unexpected(error)

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.exception("unexpected error", path=request.path, method=request.method)
        return problem(500, _code(500), "Something went wrong in the service; its log has the details.")


def _code(status: int) -> str:
    if status in BY_STATUS:
        return BY_STATUS[status][0]
    return HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
