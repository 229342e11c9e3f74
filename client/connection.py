"""The connection below the client: requests, their repetition, their problems, pages."""

import time
from collections.abc import Iterator
from typing import Any, Self

import httpx

from client.errors import ApiError, Unreachable

RETRIED = (429, 503)  # the API says with Retry-After when to come back


class Connection:
    """A connection pool to one Umbel API. Every method raises ApiError or Unreachable.

    timeout: seconds for one answer; retries: further tries after 429, 503 and connections refused or broken, which
    is safe because uploads are recognised by their bytes.
    """

    def __init__(self, url: str = "http://127.0.0.1:8080", *, timeout: float = 60, retries: int = 4) -> None:
        # trust_env=False: a proxy of the environment has no business with a service on this machine or network.
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False)
        self._retries = retries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _pages(self, path: str, filters: dict[str, str]) -> Iterator[dict[str, Any]]:
        cursor: str | None = ""
        while cursor is not None:
            page = self._request("GET", path, params={**filters, **({"cursor": cursor} if cursor else {})}).json()
            yield from page["items"]
            cursor = page["next_cursor"]

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                answer = self._once(method, path, **options)
            except Unreachable:
                if last:
                    raise
                pause = 0.2 * 2**attempt
            else:
                if last or answer.status_code not in RETRIED:
                    return checked(answer)
                pause = float(answer.headers.get("Retry-After", "1"))
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _once(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unreachable(f"No answer from {self._http.base_url}: {error}. Is it running? `umbel up`") from error


def checked(answer: httpx.Response) -> httpx.Response:
    """Raises ApiError."""
    if answer.status_code >= 400:
        raise ApiError(answer.status_code, _problem(answer))
    return answer


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        problem = answer.json()
    except ValueError:
        return {"detail": answer.text[:200]}
    return problem if isinstance(problem, dict) else {"detail": str(problem)[:200]}
