"""The header Idempotency-Key, and what the API's description says of it."""

from typing import Any

from flask import request

from api.caller import caller
from api.errors import problems
from umbel.base.errors import InvalidInput

LONGEST_KEY = 255
HEADER: Any = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A request that is repeated with its key is answered as the first one was.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[ -~]+$"},
}


def idempotency_key() -> str | None:
    """The key of the present request, set apart from those of other callers. Raises InvalidInput."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise InvalidInput(f"Idempotency-Key must be 1 to {LONGEST_KEY} printable ASCII characters.")
    return f"{caller().key_id} {key}" if key is not None and caller().key_id else key


def conflicts(*others: str) -> Any:
    """For `bp.doc(responses=…)`: what a 409 of a route that takes the header can mean. others: besides the key."""
    reused = "`idempotency_key_reused`: the Idempotency-Key was used for another request"
    return {409: {**problems(409)[409], "description": "; ".join([reused, *others])}}
