"""Security headers of every answer, and CORS."""

from typing import Any

from flask import Response, request

from api.needs import needs_key
from umbel.base.settings import Settings

# For answers that are no pages, such as images: nothing in them runs, should a browser show them as a page.
NOTHING = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
# For our pages: no inline code, and nothing from other sites.
PAGE = (
    "default-src 'self'; img-src 'self' blob: data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none';"
    " object-src 'none'"
)
# Redoc, which makes /docs from the specification, adds styles as it goes.
REFERENCE = f"{PAGE}; style-src 'self' 'unsafe-inline'"
HARDENED = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: under that, browsers send the form of /signin with `Origin: null`, as if it were another site's.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def harden(response: Response) -> Response:
    """Set what the route has not set itself."""
    for name, value in HARDENED.items():
        response.headers.setdefault(name, value)
    ours = response.mimetype == "text/html" or request.endpoint == "static"
    response.headers.setdefault("Content-Security-Policy", PAGE if ours else NOTHING)
    if needs_key(request.endpoint):
        # No cache between may keep what takes a key, and a browser asks again: it may have been signed out since.
        response.headers.setdefault("Cache-Control", "private, no-cache")
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response


def cors_options(settings: Settings) -> dict[str, Any]:
    """For flask-cors: pages of the listed origins may call with a key, never with a browser's session."""
    return {
        "origins": list(settings.cors_origins),
        "allow_headers": [
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "If-Match",
            "If-None-Match",
            "Umbel-Position",
            "X-Request-ID",
        ],
        "expose_headers": ["ETag", "Location", "Retry-After", "Umbel-Position", "X-Request-ID"],
        "supports_credentials": False,
        "max_age": 600,
    }
