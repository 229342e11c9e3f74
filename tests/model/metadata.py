"""Labels, metadata and filters drawn at random, with odd ones among them; and what a filter means, once more."""

import random
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from operator import eq, ge, gt, le, lt
from typing import Any

LABELS = (
    "tulip",
    "rose",
    "iris",
    "e\u0301clair",
    "花",
    "\u202ereversed",
    "a" * 200,
    "O'Neill; DROP TABLE image",
    "🌷",
    " ",
)
KEYS = ("year", "camera", "tags", "place", "", "ключ", "a.b", "'", "nothing", "deep")
NUMBERS = (0, 1, -1, 2020, 2021.5, 2**53 + 1, -(2**63), 1e-7, 1.5e300, -0.0, 10**30)
WORDS = ("X100V", "", "Zürich", "\u0000"[:0], "2020", "𝒳", "z" * 500, "\\u0041", "true", "ﬁ")


def normal(text: str) -> str:
    """The form in which words are kept."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n"))


def draw_label(rng: random.Random) -> str | None:
    return None if rng.random() < 0.25 else LABELS[min(int(rng.expovariate(0.5)), len(LABELS) - 1)]


def draw_metadata(rng: random.Random) -> dict[str, Any]:
    return {rng.choice(KEYS): _value(rng, 3) for _ in range(rng.choice((0, 0, 1, 2, 4)))}


def _value(rng: random.Random, depth: int) -> Any:
    kind = rng.random()
    if depth and kind < 0.1:
        return [_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if depth and kind < 0.2:
        return {rng.choice(KEYS): _value(rng, depth - 1) for _ in range(rng.randrange(3))}
    if kind < 0.22:
        return _nested(rng.randrange(5, 50))
    if kind < 0.6:
        return rng.choice(NUMBERS)
    return rng.choice((*WORDS, *WORDS, True, False, None))


def _nested(depth: int) -> Any:
    value: Any = depth
    for _ in range(depth):
        value = [value]
    return value


def draw_filter(rng: random.Random, known: list[dict[str, Any]], depth: int = 2) -> dict[str, Any]:
    """The `filter` of a request. known: metadata that images have, so that something is found."""
    asked: dict[str, Any] = {}
    if rng.random() < 0.3:
        asked["label"] = _draw_label_condition(rng)
    if rng.random() < 0.3:
        conditions = {}
        for _ in range(rng.choice((1, 1, 2))):
            some = rng.choice(known) if known and rng.random() < 0.7 else draw_metadata(rng)
            key = rng.choice([*some] or list(KEYS))
            conditions[key] = _condition(rng, some.get(key))
        asked["metadata"] = conditions
    if depth and rng.random() < 0.2:
        several = rng.choice(("any", "all"))
        asked[several] = [draw_filter(rng, known, depth - 1) for _ in range(rng.choice((0, 1, 2, 3)))]
    if depth and rng.random() < 0.1:
        asked["not"] = draw_filter(rng, known, depth - 1)
    return asked


def _draw_label_condition(rng: random.Random) -> Any:
    label = rng.choice(LABELS)
    some = rng.sample(LABELS, rng.choice((0, 1, 1, 2, 5)))
    operators = {"in": some, "prefix": label[:1], "exists": rng.random() < 0.5, "gte": label, "lt": label}
    operator = rng.choice(list(operators))
    return rng.choice((some, some, label, {operator: operators[operator]}))


def _condition(rng: random.Random, value: Any) -> Any:
    operator = rng.choice(("value", "eq", "in", "exists", "gt", "gte", "lt", "lte", "prefix", "range"))
    words = value if isinstance(value, str) else rng.choice(WORDS)
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else rng.choice(NUMBERS)
    dollar = rng.choice(("", "$"))
    match operator:
        case "value":
            return value
        case "range":
            return {f"{dollar}gte": number, f"{dollar}lt": number + rng.choice((0, 1, 10**6))}
    values = {
        "eq": value,
        "in": [value, _value(rng, 1)][: rng.randrange(3)],
        "exists": rng.random() < 0.5,
        "prefix": words[: rng.randrange(1, 4)] or "X",
    }
    return {f"{dollar}{operator}": values.get(operator, rng.choice((words, number)))}


OPERATORS = {"eq", "in", "gt", "gte", "lt", "lte", "prefix", "exists"}


def passes(
    asked: dict[str, Any],
    label: str | None,
    metadata: dict[str, Any],
    *,
    name: str | None = None,
    external_id: str | None = None,
    created_at: Any = None,
) -> bool:
    """Whether an image meets a filter: the reference of the translation to SQL. created_at: a datetime."""
    rest = {"name": name, "external_id": external_id, "created_at": created_at}
    held = [_says(asked["label"], label)] if asked.get("label") is not None else []
    held += [_says(asked["name"], name)] if "name" in asked else []
    held += [_says(asked["external_id"], external_id)] if "external_id" in asked else []
    for operator, bound in asked.get("created_at", {}).items():
        held.append(_compares(operator, created_at, _time(bound)))
    held += [_meets(metadata, key, wanted) for key, wanted in asked.get("metadata", {}).items()]
    inner = {word: [passes(one, label, metadata, **rest) for one in asked.get(word, ())] for word in ("any", "all")}
    held += [any(inner["any"])] if "any" in asked else []
    held += inner["all"]
    held += [not passes(asked["not"], label, metadata, **rest)] if "not" in asked else []
    return all(held)


def _says(wanted: Any, text: str | None) -> bool:
    """Whether a label or name is as it should be."""
    if isinstance(wanted, list | str):
        wanted = {"in": [wanted] if isinstance(wanted, str) else wanted}
    for operator, value in wanted.items():
        if operator == "exists":
            held = (text is not None) == value
        elif text is None:
            held = False
        elif operator == "in":
            held = text in map(normal, value)
        elif operator == "prefix":
            held = text.startswith(normal(value))
        else:
            held = _compares(operator, text, normal(value))
        if not held:
            return False
    return True


def _time(written: str) -> datetime:
    at = datetime.fromisoformat(written)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _compares(operator: str, left: Any, right: Any) -> bool:
    compare = {"eq": eq, "gt": gt, "gte": ge, "lt": lt, "lte": le}[operator]
    return bool(compare(left, right))


def _meets(metadata: dict[str, Any], key: str, wanted: Any) -> bool:
    if not isinstance(wanted, dict) or not wanted:
        return contains(metadata, {key: wanted})
    if not any(name.startswith("$") for name in wanted) and not wanted.keys() <= OPERATORS:
        return contains(metadata, {key: wanted})
    return all(_holds(metadata, key, operator.removeprefix("$"), value) for operator, value in wanted.items())


def _holds(metadata: dict[str, Any], key: str, operator: str, value: Any) -> bool:
    match operator:
        case "eq":
            return contains(metadata, {key: value})
        case "in":
            return any(contains(metadata, {key: one}) for one in value)
        case "exists":
            return (key in metadata) == value
    have = metadata.get(key)
    if operator == "prefix":
        return isinstance(have, str) and have.startswith(value)
    if isinstance(value, str) != isinstance(have, str) or have is None or isinstance(have, bool | list | dict):
        return False
    return _compares(operator, *((have, value) if isinstance(value, str) else (_exactly(have), _exactly(value))))


def contains(have: Any, wanted: Any) -> bool:
    """What `@>` of Postgres says: an object has at least these keys, a list at least these elements."""
    if isinstance(wanted, dict):
        return isinstance(have, dict) and all(
            key in have and contains(have[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(have, list) and all(any(contains(one, each) for one in have) for each in wanted)
    return same(have, wanted)


def merged(value: Any, patch: Any) -> Any:
    """What a JSON Merge Patch (RFC 7396) makes of a value."""
    if not isinstance(patch, dict):
        return patch
    outcome = dict(value) if isinstance(value, dict) else {}
    for key, part in patch.items():
        if part is None:
            outcome.pop(key, None)
        else:
            outcome[key] = merged(outcome.get(key), part)
    return outcome


def same(one: Any, other: Any) -> bool:
    """Whether two values of JSON are equal; numbers by what their digits say."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if _is_number(one) and _is_number(other):
        return _exactly(one) == _exactly(other)
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _exactly(number: float) -> Decimal:
    return Decimal(str(number))
