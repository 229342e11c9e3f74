"""The header If-Match of what changes an image, and the ETag that it is compared with."""

from dataclasses import asdict
from hashlib import sha256
from typing import Any

from flask import json, request

from umbel.base.errors import PreconditionFailed
from umbel.gallery.images import ImageRow

HEADER: Any = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of GET /v1/images/{image_id}: nothing is changed if the image was changed since (412).",
    "schema": {"type": "string"},
}


def etag_of(row: ImageRow) -> str:
    """Of all that is told of the image, without quotes: another one as soon as any of it is changed."""
    return sha256(json.dumps(asdict(row), sort_keys=True, default=str).encode()).hexdigest()[:32]


def check_if_match(row: ImageRow) -> None:
    """Raises PreconditionFailed where the request is meant for an earlier state of the image."""
    if "If-Match" in request.headers and not request.if_match.contains(etag_of(row)):
        raise PreconditionFailed(f"Image {row.id} was changed since that ETag: ask for it again, then change it.")
