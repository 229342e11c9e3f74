"""The connection to an API: requests, retries, problems and pages."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx
from httpx_retries import Retry, RetryTransport

from umbel_client.answer import Answer
from umbel_client.errors import NotEmbedded, UmbelClientError, UnexpectedAnswer, Unreachable, error_of

A = TypeVar("A", bound=Answer)

HERE = "http://127.0.0.1:8080"
REFUSED = (429, 503)  # nothing was done: Retry-After says when to try again
GATEWAY = (502, 504)  # from a proxy: the request may have been carried out
REPEATABLE = ("GET", "PUT", "DELETE")
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 60.0
POSITION = "Umbel-Position"
HEADER_VALUE = re.compile("[!-~]+")


class Fields(dict[str, Any]):
    """A JSON object of an answer; a field that it lacks raises UnexpectedAnswer."""

    def __missing__(self, field: str) -> Any:
        raise UnexpectedAnswer(f"The answer has no field {field}. Is it the API of a version that fits this client?")


class Connection:
    """A connection pool to one Umbel API. Thread-safe. Its methods raise ApiError, Unreachable or UnexpectedAnswer.

    Raises Unreachable for what is no URL. url, key: unset, those of UMBEL_URL and UMBEL_KEY; timeout: seconds for one
    answer; retries: further tries.
    """

    def __init__(self, url: str | None, *, key: str | None, timeout: float, retries: int) -> None:
        url = (url or os.environ.get("UMBEL_URL") or HERE).strip()
        key = (key or os.environ.get("UMBEL_KEY") or "").strip()
        if key and not HEADER_VALUE.fullmatch(key):
            raise UmbelClientError("The key has characters that no key has: look for spaces and line ends in it.")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        base = _parsed(url)
        self.place = str(base.copy_with(userinfo=b""))  # without a password
        # trust_env=False: a service on this machine or network is not reached through the environment's proxy.
        transport = RetryTransport(httpx.HTTPTransport(trust_env=False), Retry(total=0))
        hooks: dict[str, list[Any]] = {"request": [self._say_position], "response": [self._note_position]}
        self.http = httpx.Client(
            base_url=base, headers=headers, timeout=timeout, transport=transport, trust_env=False, event_hooks=hooks
        )
        self._retries = retries
        self._position: str | None = None  # of the database after our last change, which later reads have to see

    def request(self, method: str, path: str, *, repeatable: bool | None = None, **options: Any) -> httpx.Response:
        """The answer. Tries again with pauses that double, or as long as Retry-After says.

        repeatable: whether a second request is harmless, so that it may be sent when the connection broke before the
        answer came; unset: by the method. A request that the API refused to begin is sent again in any case.
        """
        repeatable = method in REPEATABLE if repeatable is None else repeatable
        return _checked(self.once(method, path, extensions=self._retry(method, repeatable), **options))

    def download(self, path: str, target: Path, *, timeout: float, params: dict[str, Any]) -> None:
        """Write the answer into the file `target` as it comes; a download that is cut short leaves no file.

        timeout: seconds between two parts of it. Raises as `request` does, and OSError.
        """
        part = target.with_name(f"{target.name}.part")
        options: dict[str, Any] = {"params": _sendable(params), "extensions": self._retry("GET", True)}
        try:
            with self.http.stream("GET", path, timeout=timeout, **options) as answer:
                if answer.status_code >= 400:
                    answer.read()
                _checked(answer)
                with part.open("wb") as file:
                    for chunk in answer.iter_bytes():
                        file.write(chunk)
            part.replace(target)
        except httpx.HTTPError as error:
            raise Unreachable(f"No whole answer from {self.place}: {error}.") from error
        finally:
            part.unlink(missing_ok=True)

    def _retry(self, method: str, repeatable: bool) -> dict[str, Any]:
        """How a request is tried again, as the transport is told."""
        retry = Retry(
            total=self._retries,
            allowed_methods=[method],
            status_forcelist=(*REFUSED, *GATEWAY) if repeatable else REFUSED,
            retry_on_exceptions=(NotEmbedded, *(Retry.RETRYABLE_EXCEPTIONS if repeatable else (httpx.ConnectError,))),
            backoff_factor=FIRST_PAUSE_SECONDS / 2,  # it is doubled before the first pause
            backoff_jitter=0.5,
            max_backoff_wait=LONGEST_PAUSE_SECONDS,
            validate_response=_wait_for_vector,
        )
        return {"retry": retry}

    def _say_position(self, request: httpx.Request) -> None:
        if self._position:
            request.headers[POSITION] = self._position

    def _note_position(self, answer: httpx.Response) -> None:
        self._position = answer.headers.get(POSITION, self._position)

    @contextmanager
    def lines(self, path: str, *, timeout: float, params: dict[str, Any]) -> Iterator[Iterator[str]]:
        """The lines of an answer, as they come. timeout: seconds between two of them. Raises as `request` does."""
        try:
            with self.http.stream("GET", path, timeout=timeout, params=_sendable(params)) as answer:
                if answer.status_code >= 400:
                    answer.read()
                _checked(answer)
                yield answer.iter_lines()
        except httpx.HTTPError as error:
            raise Unreachable(f"No answer from {self.place}: {error}. Is it running? `umbel up`") from error

    def json(self, method: str, path: str, **options: Any) -> Fields:
        """The JSON object of the answer."""
        return self.object_of(self.request(method, path, **options))

    def object_of(self, answer: httpx.Response) -> Fields:
        """The JSON object of an answer. Raises UnexpectedAnswer."""
        if answer.has_redirect_location:
            raise UnexpectedAnswer(f"{self.place} leads to {answer.headers['Location']}: use the address of the API.")
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise UnexpectedAnswer(f"{self.place} answers, but not as the API of Umbel does. Is the address right?")
        return Fields(found)

    def pages(self, kind: type[A], path: str, **filters: Any) -> Iterator[A]:
        """The items of all pages, each page fetched when it is reached."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.json("GET", path, params=given(**filters, cursor=cursor or None))
            yield from map(kind.decode, page["items"])
            cursor = page["next_cursor"]

    def once(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer to one try, whatever its status. Raises Unreachable."""
        options |= {part: _sendable(options[part]) for part in ("data", "json", "params") if part in options}
        try:
            return self.http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unreachable(f"No answer from {self.place}: {error}. Is it running? `umbel up`") from error


def _parsed(url: str) -> httpx.URL:
    """Raises Unreachable for what is no URL of a server."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Unreachable("The address of the API is no URL: write it as http://host:port or https://host.")
    return parsed


def given(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {key: value for key, value in options.items() if value is not None}


def form_of(**options: Any) -> dict[str, str]:
    """The options that are not None as fields of a form: text and ids as they are, all else as JSON."""
    return {
        key: str(value) if isinstance(value, str | UUID) else json.dumps(value)
        for key, value in given(**options).items()
    }


def as_text(filter: dict[str, Any] | None) -> str | None:
    """A filter as a parameter of a query."""
    return None if filter is None else json.dumps(filter)


def content(image: Path | str | bytes) -> bytes:
    """The bytes of an image, given by its path or itself."""
    return image if isinstance(image, bytes) else Path(image).read_bytes()


def _sendable(value: Any) -> Any:
    """The value with a question mark for whatever is not Unicode in its texts, as in names of files and arguments."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_sendable(key): _sendable(inner) for key, inner in value.items()}
    return [_sendable(inner) for inner in value] if isinstance(value, list | tuple) else value


def _wait_for_vector(answer: httpx.Response) -> None:
    """Raises NotEmbedded, which is retried, for a 409 with Retry-After."""
    if answer.status_code == 409 and "Retry-After" in answer.headers:
        answer.read()
        raise NotEmbedded(answer.status_code, _problem(answer))


def _checked(answer: httpx.Response) -> httpx.Response:
    """Raises ApiError."""
    if answer.status_code >= 400:
        raise error_of(answer.status_code, _problem(answer))
    return answer


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        problem = answer.json()
    except ValueError:
        return {"detail": answer.text[:200]}
    return problem if isinstance(problem, dict) else {"detail": str(problem)[:200]}
