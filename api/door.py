"""What is decided of a request by its header alone, before its body is read: who may not send it, may not fill disks.

The application makes the decision by its own rules (api/access.py, api/rates.py) and answers refusals itself.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from flask import Flask, request

from api import access, proxies, rates
from api.attempts import is_trusted
from api.caller import credential_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

REFUSAL = "umbel.refusal"  # in the environment of a request that the door refused: the exception


class Door:
    """The one before an application. Any thread may use it."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        count = app.config["PROXIES"]
        self._judged = proxies.behind(self._judge, count) if count else self._judge

    def is_asked(self, headers: Mapping[str, str], *, spooled: bool) -> bool:
        """Whether the body waits for `refusal`: it would go to the disk, or comes from a stranger. Takes microseconds.

        headers: as waitress names them, AUTHORIZATION.
        """
        if spooled or not self._app.config["REQUIRE_KEYS"]:
            return spooled
        return not is_trusted(credential_of(headers.get("AUTHORIZATION", ""), headers.get("COOKIE", "")))

    def refusal(self, environ: "WSGIEnvironment") -> Exception | None:
        """Why the request is refused, or None. Asks the database and Redis."""
        self._judged(environ, lambda *_: lambda _: None)
        found: Exception | None = environ.get(REFUSAL)
        return found

    def _judge(self, environ: "WSGIEnvironment", _: "StartResponse") -> Iterable[bytes]:
        with self._app.request_context(environ):
            try:
                if request.routing_exception is not None:
                    raise request.routing_exception
                access.admit()
                rates.check()
            except Exception as error:  # whatever it is, the application answers it
                environ[REFUSAL] = error
        return ()


def refuse() -> None:
    """Raises what the door found to be wrong with the present request."""
    if error := request.environ.get(REFUSAL):
        raise error
