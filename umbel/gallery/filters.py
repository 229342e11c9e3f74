"""Filters: which images a request is about. One grammar, for listing, counting and searching images.

A filter is JSON. All that it says must hold; `any`, `all` and `not` combine filters. docs/reference/filters.md is for
people, umbel/gallery/filter_sql.py is the translation.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictBool,
    WithJsonSchema,
    model_validator,
)
from umbel_files.names import LONGEST_NAME

from umbel.base.storable import NormalizedText, check_object
from umbel.gallery.filter_schema import NOT_NULL, AlsoAs, needs_one, without_defaults

DEEPEST_FILTER = 8  # filters within each other, the outermost included
MOST_TERMS = 256  # comparisons; of a metadata key's `in` each value is one
LONGEST_FILTER = 262_144  # characters of all values together
MOST_WORDS = 1_000  # in the list of a label or name
MOST_VALUES = 100  # in the list of a metadata key


class Operator(StrEnum):
    """How a value is compared. Of a metadata key it may be written with a dollar sign in front, `$gte`."""

    EQ = "eq"
    IN = "in"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    PREFIX = "prefix"
    EXISTS = "exists"


OPERATORS = frozenset(Operator)


class _Condition(BaseModel):
    """Operators with their values; all of them must hold. Those that were not given are None."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=needs_one)

    @model_validator(mode="after")
    def _said(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must have an operator")
        return self

    def terms(self) -> Iterator[tuple[Operator, Any]]:
        """What was given."""
        for name in type(self).model_fields:
            if name in self.model_fields_set:
                yield Operator(name.removesuffix("_")), getattr(self, name)


Word = Annotated[NormalizedText, Field(min_length=1, max_length=LONGEST_NAME)]
GivenWord = Annotated[Word | None, NOT_NULL]
GivenBool = Annotated[StrictBool | None, NOT_NULL]


class TextCondition(_Condition):
    """A label, name or external id. eq, in: the same text, or one of these; gt, gte, lt, lte: by code points.

    exists: it has one.
    """

    eq: GivenWord = None
    in_: Annotated[Annotated[list[Word], Field(max_length=MOST_WORDS)] | None, NOT_NULL] = Field(None, alias="in")
    gt: GivenWord = None
    gte: GivenWord = None
    lt: GivenWord = None
    lte: GivenWord = None
    prefix: GivenWord = None
    exists: GivenBool = None


def _words(value: Any) -> Any:
    """A text or a list is short for what it is equal to."""
    if isinstance(value, str):
        return {Operator.EQ.value: value}
    return {Operator.IN.value: value} if isinstance(value, list) else value


WORD_SCHEMA = {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME}
LIST_SCHEMA = {"type": "array", "items": WORD_SCHEMA, "maxItems": MOST_WORDS}
Text = Annotated[TextCondition, BeforeValidator(_words), AlsoAs(LIST_SCHEMA, WORD_SCHEMA)]
DAY = re.compile(r"\d{4}-\d\d-\d\d")


def _time(value: Any) -> datetime:
    """A point in time as RFC 3339 writes it, in UTC; a day is its beginning in UTC."""
    try:
        at = datetime.fromisoformat(value.upper())
    except (AttributeError, ValueError) as error:
        raise ValueError("must be a time, such as 2026-11-27T09:30:00Z, or a day, such as 2026-11-27") from error
    if DAY.fullmatch(value):
        return at.replace(tzinfo=UTC)
    if at.tzinfo is None:
        raise ValueError("must say its zone: end in Z for UTC, or in an offset such as +02:00")
    try:
        return at.astimezone(UTC)  # Postgres knows no offset of 16 hours or more
    except OverflowError as error:
        raise ValueError("must be in the years 1 to 9999, in UTC") from error


Time = Annotated[datetime | None, BeforeValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]


class TimeCondition(_Condition):
    """A range of time; a day, such as 2026-11-27, is its beginning in UTC."""

    gt: Time = None
    gte: Time = None
    lt: Time = None
    lte: Time = None


def _bound(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a number or text")
    return value


def _values(value: Any) -> Any:
    if not isinstance(value, list) or len(value) > MOST_VALUES:
        raise ValueError(f"must be a list of at most {MOST_VALUES} values")
    return value


def _beginning(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text, of one character at least")
    return value


Bound = Annotated[Any, AfterValidator(_bound), WithJsonSchema({"type": ["number", "string"]})]
Values = Annotated[
    Any, AfterValidator(_values), WithJsonSchema({"type": "array", "items": {}, "maxItems": MOST_VALUES})
]
Beginning = Annotated[Any, AfterValidator(_beginning), WithJsonSchema({"type": "string", "minLength": 1})]


class MetadataCondition(_Condition):
    """A key of the metadata.

    eq: contains this JSON value (a scalar is equal; an object has at least these keys; a list has at least these
    elements); in: contains one of these. gt, gte, lt, lte: a number compared with a number, or text with text by code
    points; anything else never matches. prefix: text that begins so. exists: the key is there, or is not; null counts.
    """

    eq: Any = None
    in_: Values = Field(None, alias="in")
    gt: Bound = None
    gte: Bound = None
    lt: Bound = None
    lte: Bound = None
    prefix: Beginning = None
    exists: GivenBool = None


def _operators(value: Any) -> Any:
    """An object of operators, without their dollar signs; any other value is one to be equal to."""
    if not isinstance(value, dict) or not value:
        return {Operator.EQ.value: value}
    if not any(name.startswith("$") for name in value):
        return value if value.keys() <= OPERATORS else {Operator.EQ.value: value}
    plain = {name.removeprefix("$"): part for name, part in value.items()}
    for name in value:
        if name.removeprefix("$") not in OPERATORS:
            known = ", ".join(f"${each}" for each in Operator)
            raise ValueError(f"{name} is none of {known}; for an object with such a key write {{'$eq': …}}")
    if len(plain) < len(value):
        raise ValueError("must not have an operator twice")
    return plain


def _storable(value: Any) -> Any:
    return check_object(value) if isinstance(value, dict) else value


Conditions = Annotated[
    dict[str, Annotated[MetadataCondition, BeforeValidator(_operators), AlsoAs({})]], BeforeValidator(_storable)
]


class Weight(NamedTuple):
    """How large a filter is: levels, comparisons, characters of its values."""

    depth: int
    terms: int
    length: int


EXAMPLE = {
    "label": ["rose", "tulip"],
    "metadata": {"camera": "X100V", "year": {"gte": 2020, "lt": 2024}, "season": {"in": ["spring", "summer"]}},
    "not": {"any": [{"metadata": {"retouched": {"exists": True}}}, {"name": {"prefix": "trash/"}}]},
}


def _with_example(schema: dict[str, Any]) -> None:
    without_defaults(schema)
    schema["examples"] = [EXAMPLE]


class Filter(BaseModel):
    """Which images: all that is said must hold, and {} is all images."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_with_example)

    label: Text | None = Field(None, description="The label, one of several, or an object of operators.")
    name: Annotated[Text | None, NOT_NULL] = Field(None, description="The name of the file, likewise.")
    external_id: Annotated[Text | None, NOT_NULL] = Field(None, description="The sender's own id, likewise.")
    created_at: Annotated[TimeCondition | None, NOT_NULL] = Field(None, description="When the image came in.")
    metadata: Conditions = Field(
        default_factory=dict,
        description="For each key the value that it has, or an object of operators: `eq`, `in`, `gt`, `gte`, `lt`,"
        " `lte` (numbers with numbers, text with text), `prefix`, `exists`. Each may begin with `$`.",
    )
    any: Annotated[list["Filter"] | None, NOT_NULL] = Field(None, description="At least one of these filters holds.")
    all: Annotated[list["Filter"] | None, NOT_NULL] = Field(None, description="Each of these filters holds.")
    not_: Annotated["Filter | None", NOT_NULL] = Field(None, alias="not", description="This filter does not hold.")

    _weight: Weight = PrivateAttr(Weight(1, 0, 0))

    def __bool__(self) -> bool:
        """Whether it says anything."""
        said = (self.label, self.name, self.external_id, self.created_at, self.any, self.not_)
        return any(each is not None for each in said) or bool(self.metadata or self.all)

    @property
    def parts(self) -> "list[Filter]":
        """The filters that it is combined of."""
        return [*(self.any or ()), *(self.all or ()), *((self.not_,) if self.not_ is not None else ())]

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        self._weight = weight = self._weighed()
        if weight.depth > DEEPEST_FILTER:
            raise ValueError(f"must not be nested more than {DEEPEST_FILTER} levels deep")
        if weight.terms > MOST_TERMS:
            raise ValueError(f"must not have more than {MOST_TERMS} comparisons")
        if weight.length > LONGEST_FILTER:
            raise ValueError(f"must not be longer than {LONGEST_FILTER:,} characters")
        return self

    def _weighed(self) -> Weight:
        inner = [part._weight for part in self.parts]
        terms, length = sum(each.terms for each in inner), sum(each.length for each in inner)
        fields = (self.label, self.name, self.external_id, self.created_at)
        conditions = [each for each in fields if each is not None]
        for operator, value in (term for each in conditions for term in each.terms()):
            terms += 1
            length += sum(map(len, value)) if operator is Operator.IN else len(str(value))
        for key, condition in self.metadata.items():
            for operator, value in condition.terms():
                terms += max(1, len(value)) if operator is Operator.IN else 1
                length += len(key) + len(str(value))
        return Weight(1 + max((each.depth for each in inner), default=0), terms, length)


EVERYTHING = Filter()
LABELLED = Filter.model_validate({"label": {"exists": True}})


def of_label(label: str | None) -> Filter:
    """Images of this label; None: of any, or none."""
    return EVERYTHING if label is None else Filter.model_validate({"label": label})


def of_external_id(external_id: str | None) -> Filter:
    """The images of this external id, one of a collection; None: of any, or none."""
    return EVERYTHING if external_id is None else Filter.model_validate({"external_id": external_id})


def both(one: Filter, other: Filter) -> Filter:
    """What passes each of two filters; together they may be larger than one that comes from outside."""
    if not one or not other:
        return one or other
    return Filter.model_construct(all=[one, other])
