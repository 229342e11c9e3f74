"""Errors of the client."""

from typing import Any


class UmbelClientError(Exception):
    """Base of the client's errors; the message is one line for people."""


class Unreachable(UmbelClientError):
    """No answer: nothing listens at the address, or the connection broke."""


class UnexpectedAnswer(UmbelClientError):
    """An answer that lacks a field or has one of another type: an API of another version, or not an Umbel API."""


class StillRunning(UmbelClientError):
    """The timeout is over and the work goes on. Wait again, or look later."""


class NotIndexed(UmbelClientError):
    """An uploaded image that searches cannot find: its embedding failed or was cancelled. code is stable."""

    def __init__(self, detail: str, code: str) -> None:
        super().__init__(detail)
        self.code = code


class BadSignature(UmbelClientError):
    """A request to a webhook that is not signed with its secret, or of another time."""


class ApiError(UmbelClientError):
    """The API refused, with problem+json. code is stable; detail is for people; errors: {place: {field: [messages]}}.

    request_id: what to look for in the server's log.
    """

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", "error"))
        self.errors: dict[str, Any] = problem.get("errors") or {}
        detail = str(problem.get("detail") or problem.get("title") or "no detail given")
        self.detail = f"{detail.rstrip('.')}: {fields}." if (fields := _fields_of(self.errors)) else detail
        self.request_id: str | None = problem.get("request_id")
        super().__init__(f"{self.detail} ({status} {self.code})")


def _fields_of(errors: Any) -> str:
    """Each field with what is wrong with it; of anything but {place: {field: [messages]}}, nothing."""
    places = errors.values() if isinstance(errors, dict) else ()
    fields = [field for place in places if isinstance(place, dict) for field in place.items()]
    return "; ".join(f"{name}: {', '.join(map(str, told))}" for name, told in fields if isinstance(told, list))


class Unauthorized(ApiError):
    """401: no key, or none that is known."""


class Forbidden(ApiError):
    """403: the key may not do that."""


class NotFound(ApiError):
    """404: no such image, job, collection or model version."""


class Conflict(ApiError):
    """409: it contradicts the present state."""


class NotEmbedded(Conflict):
    """409 `not_embedded`: an image of the gallery has no vector yet, and longer than the client waited for one."""


class PreconditionFailed(ApiError):
    """412: it was changed since."""


class TooLarge(ApiError):
    """413: more bytes or pixels than are taken."""


class UnsupportedImage(ApiError):
    """415: no picture of a kind that is taken, or damaged."""


class InvalidRequest(ApiError):
    """400 or 422: `errors` names the fields."""


class TooManyRequests(ApiError):
    """429: the queue is full, or the key sends too many requests."""


class NotReady(ApiError):
    """503: a part of the service is not available."""


class StorageFull(ApiError):
    """507: nothing was stored."""


BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: TooLarge,
    415: UnsupportedImage,
    422: InvalidRequest,
    429: TooManyRequests,
    503: NotReady,
    507: StorageFull,
}


BY_CODE: dict[str, type[ApiError]] = {"not_embedded": NotEmbedded}  # where the status says too little


def error_of(status: int, problem: dict[str, Any]) -> ApiError:
    """The error of this code, or else of this status."""
    return (BY_CODE.get(str(problem.get("code"))) or BY_STATUS.get(status, ApiError))(status, problem)
