"""The page at /."""

from pathlib import Path

from apiflask import APIBlueprint
from flask import Response, current_app

bp = APIBlueprint("page", __name__, enable_openapi=False)

STATIC = Path(__file__).parent / "web" / "static"  # served by the application under /static
TEMPLATES = STATIC.parent / "templates"

# No inline code and nothing from elsewhere: what the page needs is served beside it.
CONTENT_SECURITY_POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'"


@bp.get("/")
def page() -> Response:
    """The page."""
    response = current_app.send_static_file("index.html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
