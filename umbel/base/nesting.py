"""How deeply JSON from outside may be nested: a limit of our own, below any at which Python or Postgres gives up."""

import json
from typing import Any

DEEPEST = 32  # objects and lists, the outermost included


def parse_json(text: str) -> Any:
    """The value of JSON text. Raises ValueError if it is not JSON or nested too deeply."""
    try:
        value = json.loads(text)
    except RecursionError as error:  # the depth at which Python raises it differs by version and by caller
        raise ValueError(f"must not be nested more than {DEEPEST} levels deep") from error
    check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """Raises ValueError if a parsed JSON value is nested too deeply. Does not recurse."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    if any(isinstance(each, dict | list) for each in level):
        raise ValueError(f"must not be nested more than {DEEPEST} levels deep")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
