"""What the specification says of filters, where pydantic would say something else."""

from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema


class AlsoAs:
    """A field that may be written in these ways, too, which a validator before it understands."""

    def __init__(self, *ways: dict[str, Any]) -> None:
        self._ways = ways

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [*self._ways, handler(schema)]}


class _NotNull:
    """A field whose None stands for what was not given: null cannot be given."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_given, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        others = [each for each in found["anyOf"] if each != {"type": "null"}]
        return others[0] if len(others) == 1 else {"anyOf": others}


NOT_NULL = _NotNull()


def _given(value: Any) -> Any:
    if value is None:
        raise ValueError("must not be null")
    return value


def without_defaults(schema: dict[str, Any]) -> None:
    """For `json_schema_extra`: what is left out is not null."""
    for field in schema["properties"].values():
        field.pop("default", None)


def needs_one(schema: dict[str, Any]) -> None:
    """For `json_schema_extra`: an object of at least one of its fields."""
    without_defaults(schema)
    schema["minProperties"] = 1
