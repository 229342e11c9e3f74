"""The base of the API's answers: typed objects decoded from JSON, and turned back into it."""

from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from types import UnionType
from typing import Any, Literal, Self, dataclass_transform, get_args, get_origin, get_type_hints
from uuid import UUID

from umbel_client.errors import UnexpectedAnswer

PARSED: dict[type, Callable[[str], Any]] = {UUID: UUID, datetime: datetime.fromisoformat}


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Answer:
    """A frozen dataclass, as each subclass becomes one. Fields that a newer API adds are ignored."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def decode(cls, value: Any) -> Self:
        """The answer that this JSON holds. Raises UnexpectedAnswer if a field is missing or of another type."""
        decoded: Self = _decode(cls, value, cls.__name__)
        return decoded

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON: ids and times are strings."""
        plain: dict[str, Any] = _plain(asdict(self))  # type: ignore[call-overload]
        return plain


def _decode(kind: Any, value: Any, place: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    decoded: Any
    if origin is UnionType:  # `X | None`
        decoded = None if value is None else _decode(inner[0], value, place)
    elif origin is Literal:  # a newer API may have other values
        decoded = _decode(str, value, place)
    elif origin is list and isinstance(value, list):
        decoded = [_decode(inner[0], one, f"{place}[{at}]") for at, one in enumerate(value)]
    elif origin is dict and isinstance(value, dict):
        decoded = {key: _decode(inner[1], one, f"{place}.{key}") for key, one in value.items()}
    elif kind in PARSED and isinstance(value, str):
        decoded = _parse(kind, value, place)
    elif isinstance(kind, type) and issubclass(kind, Answer) and isinstance(value, dict):
        decoded = kind(**_arguments(kind, value, place))
    elif kind is float and isinstance(value, int):
        decoded = float(value)
    elif kind is Any or (origin is None and isinstance(value, kind)):
        decoded = value
    else:
        raise UnexpectedAnswer(f"{place} should be {getattr(kind, '__name__', kind)}, but it is {value!r:.100}.")
    return decoded


def _arguments(kind: Any, value: dict[str, Any], place: str) -> dict[str, Any]:
    found = {}
    for name, hint, required in _fields(kind):
        if name in value:
            found[name] = _decode(hint, value[name], f"{place}.{name}")
        elif required:
            raise UnexpectedAnswer(f"{place} has no field {name}. Is it the API of a version that fits this client?")
    return found


@cache
def _fields(kind: Any) -> list[tuple[str, Any, bool]]:
    """Name, type, and whether the field is required."""
    hints = get_type_hints(kind)
    return [(one.name, hints[one.name], one.default is MISSING) for one in fields(kind)]


def _parse(kind: type, text: str, place: str) -> Any:
    try:
        return PARSED[kind](text)
    except ValueError as error:
        raise UnexpectedAnswer(f"{place}: {error}.") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value
