"""The connection below the client: requests, their repetition, their problems, pages."""

import os
from collections.abc import Iterator
from typing import Any

import httpx
from httpx_retries import Retry, RetryTransport

from umbel_client.errors import Conflict, Unreachable, error_of

HERE = "http://127.0.0.1:8080"
REFUSED = (429, 503)  # nothing was done: Retry-After says when to come back
GATEWAY = (502, 504)  # a proxy's: whether it was done nobody knows
REPEATABLE = ("GET", "PUT", "DELETE")
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 60.0


class Connection:
    """A connection pool to one Umbel API. Thread-safe. Its methods raise ApiError or Unreachable.

    url, key: unset, those of UMBEL_URL and UMBEL_KEY; timeout: seconds for one answer; retries: further tries.
    """

    def __init__(self, url: str | None, *, key: str | None, timeout: float, retries: int) -> None:
        url = url or os.environ.get("UMBEL_URL") or HERE
        key = key or os.environ.get("UMBEL_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # trust_env=False: a proxy of the environment has no business with a service on this machine or network.
        transport = RetryTransport(httpx.HTTPTransport(trust_env=False), Retry(total=0))
        self.http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport, trust_env=False)
        self._retries = retries

    def request(self, method: str, path: str, *, repeatable: bool | None = None, **options: Any) -> httpx.Response:
        """The answer, tried again with pauses that double, or as long as Retry-After says.

        repeatable: whether doing it twice is harmless, so that it may be tried again when the connection broke before
        the answer came; unset: by the method. What the API has refused to begin is tried again in any case.
        """
        repeatable = method in REPEATABLE if repeatable is None else repeatable
        retry = Retry(
            total=self._retries,
            allowed_methods=[method],
            status_forcelist=(*REFUSED, *GATEWAY) if repeatable else REFUSED,
            retry_on_exceptions=(Conflict, *(Retry.RETRYABLE_EXCEPTIONS if repeatable else (httpx.ConnectError,))),
            backoff_factor=FIRST_PAUSE_SECONDS / 2,  # it is doubled before the first pause
            backoff_jitter=0.5,
            max_backoff_wait=LONGEST_PAUSE_SECONDS,
            validate_response=_wait_for_vector,
        )
        return _checked(self.once(method, path, extensions={"retry": retry}, **options))

    def json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of the answer."""
        return self.request(method, path, **options).json()

    def pages(self, path: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """The items of all pages, each page fetched when it is reached."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.json("GET", path, params=given(**filters, cursor=cursor or None))
            yield from page["items"]
            cursor = page["next_cursor"]

    def once(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer, whatever it is, to one try. Raises Unreachable."""
        try:
            return self.http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unreachable(f"No answer from {self.http.base_url}: {error}. Is it running? `umbel up`") from error


def given(**options: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {key: value for key, value in options.items() if value is not None}


def _wait_for_vector(answer: httpx.Response) -> None:
    """Raises Conflict, after which it is tried again, for a 409 with Retry-After (`not_embedded`)."""
    if answer.status_code == 409 and "Retry-After" in answer.headers:
        answer.read()
        raise Conflict(answer.status_code, _problem(answer))


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
