"""The service as the run reaches it: requests that are sent again while parts of it are being restarted."""

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

from tests.model.mismatch import Mismatch

PATIENCE_SECONDS = 120  # in which a restarted process serves again, on a busy machine
PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """again: the request was sent more than once, and the service may have done what it says before this answer."""

    status: int
    body: Any
    headers: httpx.Headers
    again: bool = False

    @property
    def code(self) -> str | None:
        return self.body.get("code") if isinstance(self.body, dict) else None


class Server:
    """What is counted in `again` was sent more than once; in `sent`, all."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self.sent = self.again = 0

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **options: Any) -> Answer:
        return self.send("GET", path, **options)

    def post(self, path: str, **options: Any) -> Answer:
        return self.send("POST", path, **options)

    def send(self, method: str, path: str, *, patience: float = PATIENCE_SECONDS, **options: Any) -> Answer:
        """The answer, as soon as it is one: not broken off, and not that the service isn't ready. Raises Mismatch."""
        deadline, again = time.monotonic() + patience, False
        while True:
            self.sent += 1
            try:
                response = self._client.request(method, path, **options)
            except httpx.ConnectError as error:
                why = str(error)
            except httpx.TransportError as error:
                why, again = f"{type(error).__name__}: {error}", True
            else:
                if response.status_code not in (429, 503):
                    return self._answer(response, again)
                why, again = response.text[:500], again or response.status_code == 503
            if time.monotonic() > deadline:
                raise Mismatch(f"{method} {path} is not answered within {patience} s: {why}")
            self.again += 1
            time.sleep(PAUSE_SECONDS)

    def _answer(self, response: httpx.Response, again: bool) -> Answer:
        kind = response.headers.get("content-type", "").split(";")[0]
        body: Any = response.content
        if response.content and kind in ("application/json", "application/problem+json"):
            body = json.loads(response.content)
        if response.status_code >= 500 and response.status_code != 507:
            raise Mismatch(f"{response.request.method} {response.request.url} → {response.status_code}: {body}")
        return Answer(response.status_code, body, response.headers, again)
