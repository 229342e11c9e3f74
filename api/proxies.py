"""What reverse proxies before the API tell of a request: who sent it, and under which address the API was called."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import current_app, request
from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
DEFAULT_PORTS = {"http": 80, "https": 443}


def behind(app: "WSGIApplication", count: int) -> ProxyFix:
    """The application behind `count` proxies whose X-Forwarded-For, -Proto, -Host and -Prefix are trusted."""

    def checked(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        prefix = environ.get("SCRIPT_NAME", "").rstrip("/")
        # Links begin with it: nothing that a browser would take for another site.
        environ["SCRIPT_NAME"] = prefix if PREFIX.fullmatch(prefix) and len(prefix) <= 200 else ""
        return app(environ, start_response)

    return ProxyFix(checked, x_for=count, x_proto=count, x_host=count, x_prefix=count)


def is_own(origin: str) -> bool:
    """Whether an Origin header names the address under which the present request called the API."""
    try:
        asked = urlsplit(origin)
        default = DEFAULT_PORTS.get(asked.scheme)
        ours = [urlsplit(f"//{host}") for host in _hosts()]
        return bool(asked.hostname) and any(
            (asked.hostname, asked.port or default) == (one.hostname, one.port or default) for one in ours
        )
    except ValueError:  # such as `http://[`
        return False


def _hosts() -> Iterator[str]:
    """The host, and the host with the port that the trusted proxy says it was called on: proxies send one or the other,
    and behind a mapped port of a container only one of them is right."""
    yield request.host
    count = current_app.config["PROXIES"]
    ports = request.headers.get("X-Forwarded-Port", "").split(",")
    if 0 < count <= len(ports) and ports[-count].strip().isdecimal():
        name = request.host.rpartition(":")[0] if re.search(r":\d+$", request.host) else request.host
        yield f"{name}:{ports[-count].strip()}"
