"""Seeing one's own changes on replicas: `Umbel-Position` of an answer comes back with the requests that follow."""

from flask import Response, request

from api.needs import NEEDS, READ
from umbel.base.errors import NotReady
from umbel.base.replicas import must_see, parse_position, position

HEADER = "Umbel-Position"
FOLLOWS_WORK = ("jobs.get_job",)  # whoever waits for a job wants to see what it did


def begin() -> None:
    """Raises InvalidInput."""
    given = request.headers.get(HEADER)
    must_see.set(parse_position(given) if given else 0)


def end(response: Response) -> Response:
    """Say where the database is now, where the request may have changed something, and there are replicas."""
    need = NEEDS.get(request.endpoint or "")
    if need is not None and response.status_code < 400 and (need.scope != READ or request.endpoint in FOLLOWS_WORK):
        try:
            now = position()
        except NotReady:
            return response
        if now is not None:
            response.headers[HEADER] = str(now)
    return response
