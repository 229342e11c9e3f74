"""What this API takes for a request."""

from typing import Any

from flask import Request
from werkzeug.exceptions import BadRequest


class ObjectRequest(Request):
    """A request whose JSON, where it has any, is an object: APIFlask takes `null` for {}."""

    def get_json(self, *args: Any, **options: Any) -> Any:
        body = super().get_json(*args, **options)
        if not isinstance(body, dict):
            raise BadRequest("The body must be a JSON object.")
        return body
