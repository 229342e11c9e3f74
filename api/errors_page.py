"""docs/errors.md, made of the errors themselves: `python -m api.errors_page > docs/errors.md`."""

import inspect
import re

from api.errors import BY_STATUS, STATUS
from umbel.base.errors import UmbelError
from umbel.base.settings import Settings

HEAD = """# Error codes

Written by `python -m api.errors_page`; do not edit.
What the API refuses is answered with problem+json (RFC 9457): `code` is one of these and stable, `detail` says in words
what is wrong and what to do, `errors` names single fields. Failed items of jobs and the metric
`umbel_item_failures_total` have the same codes. Answers of `429` and `503`, and `not_embedded`, say in `Retry-After`
when to call again. A few come from commands only, such as `backup` and `bad_dataset`.

| status | code | when |
|---|---|---|
"""


def described() -> str:
    """docs/errors.md."""
    rows = {(status, *meaning) for status, meaning in BY_STATUS.items() if meaning[0] not in _codes()}
    rows |= {(status, kind.code, _meaning(kind)) for kind, status in STATUS.items() if kind is not UmbelError}
    return HEAD + "".join(f"| `{status}` | `{code}` | {meaning} |\n" for status, code, meaning in sorted(rows))


def _codes() -> set[str]:
    return {kind.code for kind in STATUS}


def _meaning(kind: type[UmbelError]) -> str:
    """The first paragraph of its docstring, with settings as variables of the environment."""
    text = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    return re.sub(r"`(\w+)`", lambda name: f"`UMBEL_{name[1].upper()}`" if _is_setting(name[1]) else name[0], text)


def _is_setting(name: str) -> bool:
    return name in Settings.model_fields


if __name__ == "__main__":
    print(described(), end="")
