"""What a request can come to besides an answer."""

from typing import Any


class UmbelClientError(Exception):
    """Base of the client's errors; the message is one line for people."""


class Unreachable(UmbelClientError):
    """No answer: nothing listens there, or the connection broke."""


class ApiError(UmbelClientError):
    """The API refused, with problem+json. code is stable; detail is for people."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", "error"))
        self.detail = str(problem.get("detail") or problem.get("title") or "no detail given")
        self.errors = problem.get("errors") or {}
        super().__init__(f"{self.detail} ({status} {self.code})")
