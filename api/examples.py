"""Examples of bodies, put together from what a schema says of its fields."""

from typing import Any

BY_FORMAT = {
    "uuid": "019b2f6e-0000-7000-8000-000000000000",
    "date-time": "2026-11-27T09:30:00Z",
    "binary": "(bytes)",
}
BY_TYPE = {"string": "text", "integer": 1, "number": 0.5, "boolean": False, "null": None}


def example_of(schema: Any, spec: Any) -> Any:  # noqa: PLR0911 - one for each kind of schema
    """A value that the schema takes: its own example or default, else one made of its parts."""
    if "$ref" in schema:
        return example_of(spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]], spec)
    if schema.get("examples"):
        return schema["examples"][0]
    for key in ("example", "default", "const"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return example_of(schema[key][0], spec)
    if schema.get("type") == "object" or "properties" in schema:
        return {
            name: example_of(field, spec)
            for name, field in schema.get("properties", {}).items()
            if name in schema.get("required", ()) or "default" not in field
        }
    if schema.get("type") == "array":
        return [example_of(schema["items"], spec)]
    return BY_FORMAT.get(schema.get("format", ""), BY_TYPE.get(schema.get("type", "")))
