"""The page at /, the reference of the API at /docs, and its error codes at /errors."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

from apiflask import APIBlueprint
from flask import Response, current_app, render_template
from umbel_files.kinds import SIGNATURES
from umbel_files.names import OTHERS, PICTURES
from umbel_files.skipping import PATTERN

from api.error_codes import error_codes
from api.headers import REFERENCE

bp = APIBlueprint("page", __name__, enable_openapi=False)

STATIC = Path(__file__).parent / "web" / "static"  # served by the application under /static
TEMPLATES = STATIC.parent / "templates"


@bp.get("/")
def page() -> Response:
    """The page."""
    return current_app.send_static_file("index.html")


@bp.get("/files.json")
def files() -> dict[str, Any]:
    """By what the page tells files that it sends from those that lie beside them; as every other way in does."""
    return {"skipped": PATTERN, "pictures": PICTURES, "others": OTHERS, "signatures": SIGNATURES}


@bp.get("/docs")
def reference() -> Response:
    """The specification for people to read: Redoc, which is served from here as well."""
    response = current_app.send_static_file("docs.html")
    response.headers["Content-Security-Policy"] = REFERENCE
    return response


@bp.get("/errors")
def errors() -> str:
    """What each error code means: the `type` of a problem leads here."""
    return render_template("errors.html", codes=error_codes(), phrases={each.value: each.phrase for each in HTTPStatus})
