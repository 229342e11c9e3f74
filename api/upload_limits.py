"""How large a request may be; a larger one is answered 413. How large an image may be: umbel/decoding/opening.py."""

import re

from flask import request

from umbel.base.settings import Settings, settings

FORM_OVERHEAD = 2**20  # of a request with a file: multipart boundaries, other fields
KEY_FORM = 2**14  # of a request with a key alone, and of one without a use for its body
VECTORS = re.compile("/v1/models/[^/]+/vectors")
OF_MANY = ("/v1/images", "/v1/trash")  # removed by lists of ids
FOR_STRANGERS = ("/v1/session", "/signin", "/signout")


def largest_request(limits: Settings, path: str = "/v1/images", method: str = "POST") -> int:
    """Bytes of a request to `path`. Base64 in JSON takes a third more than the image that it carries."""
    if method == "DELETE" and path in OF_MANY:
        return FORM_OVERHEAD
    if path in FOR_STRANGERS or method not in ("POST", "PUT", "PATCH"):
        return KEY_FORM
    if VECTORS.fullmatch(path):
        return limits.archive_bytes + FORM_OVERHEAD
    files = {"/v1/imports": limits.archive_bytes, "/v1/models": limits.max_checkpoint_bytes}
    return files.get(path, limits.max_bytes * 4 // 3) + FORM_OVERHEAD


def limit_form() -> None:
    """Let the present request be as large as its path lets forms be; any other body is read into memory."""
    if request.mimetype == "multipart/form-data":
        request.max_content_length = largest_request(settings(), request.path)
