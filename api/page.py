"""The page at /."""

from pathlib import Path

from apiflask import APIBlueprint
from flask import Response, current_app

bp = APIBlueprint("page", __name__, enable_openapi=False)

STATIC = Path(__file__).parent / "web" / "static"  # served by the application under /static
TEMPLATES = STATIC.parent / "templates"


@bp.get("/")
def page() -> Response:
    """The page."""
    return current_app.send_static_file("index.html")
