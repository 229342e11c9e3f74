"""The connection below the client: requests, their repetition, their problems, pages."""

import os
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from umbel_client.errors import Unreachable, error_of

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
        self.http = httpx.Client(base_url=url, headers=headers, timeout=timeout, trust_env=False)
        self._retries = retries

    def request(self, method: str, path: str, *, repeatable: bool | None = None, **options: Any) -> httpx.Response:
        """The answer, for which it is patient: with pauses that double, or as long as Retry-After says.

        repeatable: whether doing it twice is harmless, so that it may be tried again when the connection broke before
        the answer came; unset: by the method. What the API has refused to begin is tried again in any case.
        """
        repeatable = method in REPEATABLE if repeatable is None else repeatable
        for attempt in range(self._retries):
            try:
                answer = self.once(method, path, **options)
            except Unreachable as error:
                if not (repeatable or isinstance(error.__cause__, httpx.ConnectError)):
                    raise
                time.sleep(_pause(attempt))
            else:
                if not (_refused_for_now(answer) or (repeatable and answer.status_code in GATEWAY)):
                    return _checked(answer)
                time.sleep(_asked_for(answer) or _pause(attempt))
        return _checked(self.once(method, path, **options))

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


def _refused_for_now(answer: httpx.Response) -> bool:
    """Whether nothing was done and it is worth asking again; a 409 says so by its Retry-After (`not_embedded`)."""
    return answer.status_code in REFUSED or (answer.status_code == 409 and "Retry-After" in answer.headers)


def _pause(attempt: int) -> float:
    """Seconds, up to twice as many each time; at random, so that many clients do not come back as one."""
    return min(FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1)


def _asked_for(answer: httpx.Response) -> float | None:
    """Seconds that Retry-After asks for: a number, or a date."""
    text = answer.headers.get("Retry-After", "")
    try:
        seconds = float(text) if text.isdigit() else (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):  # TypeError: a date without a time zone
        return None
    return min(max(seconds, 0.0), LONGEST_PAUSE_SECONDS)


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
