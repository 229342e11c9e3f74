"""The page at /."""

from apiflask import APIBlueprint
from flask import Response

bp = APIBlueprint("page", __name__, static_folder="web/static", static_url_path="/static", enable_openapi=False)

# No inline code and nothing from elsewhere: what the page needs is served beside it.
CONTENT_SECURITY_POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'"


@bp.get("/")
def page() -> Response:
    """The page."""
    response = bp.send_static_file("index.html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
