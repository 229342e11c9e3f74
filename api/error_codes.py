"""What each error code means, made of the errors themselves: for the page /errors and docs/errors.md."""

import inspect
import re

from api.errors import BY_STATUS, STATUS
from umbel.base.errors import UmbelError
from umbel.base.settings import Settings


def error_codes() -> list[tuple[int, str, str]]:
    """Each error's status, its code, and when it comes, as Markdown, in this order."""
    rows = {(status, *meaning) for status, meaning in BY_STATUS.items() if meaning[0] not in _codes()}
    rows |= {(status, kind.code, _meaning(kind)) for kind, status in STATUS.items() if kind is not UmbelError}
    return sorted(rows)


def _codes() -> set[str]:
    return {kind.code for kind in STATUS}


def _meaning(kind: type[UmbelError]) -> str:
    """The first paragraph of its docstring, with settings as variables of the environment."""
    text = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    return re.sub(r"`(\w+)`", lambda name: f"`UMBEL_{name[1].upper()}`" if _is_setting(name[1]) else name[0], text)


def _is_setting(name: str) -> bool:
    return name in Settings.model_fields
