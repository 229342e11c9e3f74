"""The reference at /docs: the specification as a page without scripts. The documentation site shows the same."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apiflask import APIBlueprint
from flask import Response, current_app, make_response, render_template
from markupsafe import Markup, escape

from api.specification import SCHEMAS, operations

bp = APIBlueprint("reference", __name__, enable_openapi=False)


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a property of a body. type: in words, as `integer, 1 to 1000`."""

    name: str
    place: str
    type: str
    required: bool
    description: str
    default: str | None


@dataclass(frozen=True, slots=True)
class Body:
    """kind: the media type; schema: its name, if it has one; example: as text, if there is one."""

    kind: str
    schema: str | None
    fields: list[Field]
    example: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    description: str
    bodies: list[Body]


@dataclass(frozen=True, slots=True)
class Operation:
    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: list[Field]
    bodies: list[Body]
    answers: list[Answer]
    scope: str | None  # that a key needs


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    description: str
    operations: list[Operation]


@bp.get("/docs")
def reference_page() -> Response:
    """The reference."""
    spec = current_app.spec  # type: ignore[attr-defined]
    page = render_template(
        "reference.html", info=spec["info"], sections=list(sections(spec)), schemas=dict(schemas(spec)), code=_code
    )
    return make_response(page)


def sections(spec: Any) -> Iterator[Section]:
    """The operations, by tag."""
    for tag in spec["tags"]:
        found = [_operation(spec, *each) for each in operations(spec) if each[2]["tags"][0] == tag["name"]]
        yield Section(tag["name"], tag.get("description", ""), found)


def schemas(spec: Any) -> Iterator[tuple[str, list[Field]]]:
    """What bodies are made of: the fields of each object, the values of each choice."""
    for name, schema in spec["components"]["schemas"].items():
        if schema.get("properties"):
            yield name, list(_fields(schema))
        elif "enum" in schema:
            yield name, [Field(value, "", "", True, "", None) for value in schema["enum"]]


def _operation(spec: Any, path: str, method: str, operation: Any) -> Operation:
    return Operation(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation.get("summary", "").rstrip("."),
        description=operation.get("description", ""),
        parameters=[
            _field(one["name"], one["schema"], one["required"], one["in"], one.get("description"))
            for one in operation["parameters"]
        ],
        bodies=list(_bodies(spec, operation.get("requestBody", {}))),
        answers=[
            Answer(status, answer["description"], list(_bodies(spec, answer)))
            for status, answer in operation["responses"].items()
        ],
        scope=operation.get("x-scope"),
    )


def _bodies(spec: Any, carrier: Any) -> Iterator[Body]:
    for kind, media in carrier.get("content", {}).items():
        name = media["schema"].get("$ref", "").removeprefix(SCHEMAS) or None
        schema = spec["components"]["schemas"][name] if name else media["schema"]
        example = json.dumps(media["example"], indent=2) if "example" in media else None
        yield Body(kind, name, list(_fields(schema)), example)


def _fields(schema: Any) -> Iterator[Field]:
    for name, field in schema.get("properties", {}).items():
        yield _field(name, field, name in schema.get("required", ()))


def _field(name: str, schema: Any, required: bool, place: str = "", description: str | None = None) -> Field:
    default = schema.get("default")
    text = description or schema.get("description") or next(_descriptions(schema), "")
    return Field(name, place, type_of(schema), required, text, None if default is None else json.dumps(default))


def _descriptions(schema: Any) -> Iterator[str]:
    return (each["description"] for each in schema.get("anyOf", ()) if "description" in each)


def type_of(schema: Any) -> str:
    """A schema in words."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(SCHEMAS)
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " | ".join(dict.fromkeys(type_of(each) for each in schema[key]))
    if schema.get("type") == "array":
        return f"array of {type_of(schema['items'])}{_range(schema, 'minItems', 'maxItems')}"
    words = {"binary": "file", "byte": "base64"}
    plain = words.get(schema.get("format", ""), schema.get("format") or schema.get("type", "any"))
    return f"{plain}{_range(schema, 'minimum', 'maximum')}{_range(schema, 'minLength', 'maxLength', ' characters')}"


def _range(schema: Any, least: str, most: str, unit: str = "") -> str:
    if least in schema and most in schema:
        return f", {schema[least]:g} to {schema[most]:g}{unit}"
    if most in schema:
        return f", at most {schema[most]:g}{unit}"
    return f", at least {schema[least]:g}{unit}" if least in schema else ""


def _code(text: str) -> Markup:
    """Text with `code` in it, as HTML; paragraphs are kept apart."""
    paragraphs = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))).split("\n\n")
    return Markup("".join(f"<p>{paragraph}</p>" for paragraph in paragraphs if paragraph))
