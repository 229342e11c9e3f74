"""Model versions as users name them: by id, by the beginning of an id, or by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from umbel.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from umbel_client import Model

SHORT = 8  # characters of an id, if they are unique


def find_model(models: Sequence[Model], named: str) -> Model:
    """The version with this id or name. Raises NotFound, and InvalidInput for a name of several."""
    exact = [one for one in models if str(one.id) == named.lower()]
    found = exact or [one for one in models if one.name == named or str(one.id).startswith(named.lower())]
    if not found:
        raise NotFound(f"There is no model {named!r}; see `umbel models list`.")
    if len(found) > 1:
        ids = dict(zip((one.id for one in models), short_ids(models), strict=True))
        several = ", ".join(f"{ids[one.id]} ({one.name}, {one.state})" for one in found)
        raise InvalidInput(f"{named!r} may be any of {several}; give more of the id.")
    return found[0]


def short_ids(models: Sequence[Model]) -> list[str]:
    """The beginning of each id, long enough to be unique: ids of the same minute begin alike."""
    ids = [str(one.id) for one in models]
    length = next(n for n in range(SHORT, 37) if len({one[:n] for one in ids}) == len(ids))
    return [one[:length] for one in ids]
