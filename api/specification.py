"""The OpenAPI document: what APIFlask gathers from the routes, completed, and nothing in it twice.

Routes name the answers that are theirs alone; what follows from a route's shape (a body can be malformed, an id can be
unknown, the database can be away) is added here for all. spectree and flask-openapi3 would take APIFlask's place, and
know no more of this than it does.
"""

import re
from collections.abc import Iterator
from typing import Any

from apiflask import APIFlask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import idempotency
from api.errors import problems
from api.examples import example_of
from api.needs import NEEDS, STRICTEST
from api.schemas.fields import NAME
from api.schemas.problem import ProblemOut

SCHEMAS = "#/components/schemas/"
METHODS = ("get", "post", "put", "patch", "delete")
LIVENESS = ("/healthz", "/readyz")  # they ask nothing of the database, or say themselves what is missing

TAGS = {
    "Images": "Upload, list, describe, change and remove images.",
    "Imports": "One job for many pictures.",
    "Jobs": "Progress and control of what runs in the background. Status is read from the ledger in Postgres.",
    "Search": "The most similar images, and what an image shows.",
    "Duplicates": "Near-duplicates.",
    "Label issues": "Probably wrong labels.",
    "Collections": "A collection is deduplicated, searched and deleted on its own.",
    "Map": "The gallery in two dimensions: similar images lie together.",
    "Models": "Model versions. Exactly one is active; searches use it.",
    "Admin": "Recall, reindexing and the audit log.",
    "Session": "Sign a browser in with a key, and out.",
    "Health": "For supervisors, load balancers and Prometheus.",
    "Predecessor": "The request of the service that Umbel replaces.",
}
IN_PATHS: dict[str, Any] = {
    "name": {"type": "string", "pattern": f"^{NAME}$", "examples": ["garden"]},
    **{
        name: {"type": "string", "format": "uuid", "examples": ["019b2f6e-0000-7000-8000-000000000000"]}
        for name in ("image_id", "job_id", "version_id")
    },
}
REQUEST_ID: Any = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "description": "Your name for the request, at most 64 printable ASCII characters: the answer and the log carry it.",
    "schema": {"type": "string"},
}
HEADERS = {"upload_image": [idempotency.HEADER], "open_import": [idempotency.HEADER]}
KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of `umbel keys create`. Without keys the service answers to all who reach it.",
}
# What comes next with what an answer gives: {operation: {field of the answer: operations that take it in their path}}.
FOLLOWED = {
    "upload_image": {
        "job_id": ["get_job"],
        "image_id": ["get_image", "similar_images", "change_image", "remove_image"],
    },
    "open_import": {"job_id": ["get_job", "list_items", "pause_job", "resume_job", "close_job", "cancel_job"]},
    "create_collection": {"name": ["get_collection", "delete_collection"]},
    "delete_collection": {"job_id": ["get_job"]},
    "register_model": {"id": ["get_model"]},
    "reindex": {"job_id": ["get_job", "cancel_job"]},
}
TAKEN_AS = {"id": "version_id"}  # the parameter's name, where it is not the field's

_referenced: set[type[BaseModel]] = {ProblemOut}


def either_body(*, form: type[BaseModel], json: type[BaseModel] | None = None) -> dict[str, Any]:
    """For `bp.doc(extensions=…)`: the body of a route that takes JSON or a form, or validates its form itself."""
    models = {"application/json": json, "multipart/form-data": form}
    _referenced.update(model for model in models.values() if model)
    content = {kind: {"schema": _ref(model.__name__)} for kind, model in models.items() if model}
    return {"requestBody": {"required": True, "content": content}}


def install(app: APIFlask) -> None:
    """Let the application's specification be complete."""
    app.config["SECURITY_SCHEMES"] = {"key": KEY}
    for endpoint, view in app.view_functions.items():
        told = getattr(view, "_spec", {})
        told["operation_id"] = (
            told.get("operation_id") or endpoint.rpartition(".")[2]
        )  # generated clients take their names from it
        if need := NEEDS.get(endpoint, STRICTEST):
            told["extensions"] = {**(told.get("extensions") or {}), "x-scope": need.scope.value}

    @app.spec_processor
    def complete(spec: Any) -> Any:
        _merge_schemas(spec)
        for path, _, operation in operations(spec):
            if "x-scope" in operation:
                operation["security"] = [{"key": []}] if app.config["REQUIRE_KEYS"] else [{"key": []}, {}]
            _complete_bodies(spec, operation)
            _complete_parameters(operation)
            _complete_answers(path, operation)
            _add_links(operation)
        _add_examples(spec)
        spec["tags"] = [{"name": tag, "description": description} for tag, description in TAGS.items()]
        return spec


def operations(spec: Any) -> Iterator[tuple[str, str, Any]]:
    """(path, method, operation) of each."""
    for path, item in spec["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _ref(name: str) -> dict[str, str]:
    return {"$ref": SCHEMAS + name}


def _merge_schemas(spec: Any) -> None:
    """APIFlask names a part after each of its wholes (JobsOut.CountsOut, JobOut.CountsOut): once is enough."""
    _, referenced = models_json_schema(
        [(model, "validation") for model in _referenced], ref_template=SCHEMAS + "{model}"
    )
    schemas: dict[str, Any] = dict(referenced.get("$defs", {}))
    for name, schema in spec["components"]["schemas"].items():
        schemas.setdefault(name.rpartition(".")[2], schema)
    spec["components"]["schemas"] = dict(sorted(schemas.items()))
    for node in _nodes(spec):
        if "$ref" in node:
            node["$ref"] = re.sub(r"[^/]+\.", "", node["$ref"])


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    """All objects at and below a node."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(child)


def _complete_bodies(spec: Any, operation: Any) -> None:
    """OpenAPI takes a body for optional unless told otherwise; none of ours is. A form cannot say null either."""
    if "requestBody" not in operation:
        return
    operation["requestBody"]["required"] = True
    for kind, media in operation["requestBody"]["content"].items():
        if kind == "multipart/form-data":
            fields = spec["components"]["schemas"][media["schema"]["$ref"].removeprefix(SCHEMAS)]["properties"]
            fields.update({name: _without_null(field) for name, field in fields.items()})


def _complete_parameters(operation: Any) -> None:
    for parameter in operation.setdefault("parameters", []):
        if parameter["in"] == "path":
            parameter["schema"] = IN_PATHS[parameter["name"]]
        schema = parameter["schema"] = _without_null(parameter["schema"])
        if "description" in schema:
            parameter["description"] = schema.pop("description")
    operation["parameters"] += [*HEADERS.get(operation["operationId"], ()), REQUEST_ID]


def _without_null(schema: Any) -> Any:
    """The schema of a parameter, which is left out rather than null."""
    others = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(others) == 1:
        schema = {**{key: value for key, value in schema.items() if key != "anyOf"}, **others[0]}
    if schema.get("default", ...) is None:
        schema = {key: value for key, value in schema.items() if key != "default"}
    return schema


def _complete_answers(path: str, operation: Any) -> None:
    expected = set() if path in LIVENESS else {503}
    if "x-scope" in operation:
        expected |= {401, 403, 429}
    if "requestBody" in operation:
        expected |= {400, 413, 422}
    if any(parameter["in"] == "query" for parameter in operation["parameters"]):
        expected.add(422)
    if any(parameter["in"] == "path" for parameter in operation["parameters"]):
        expected.add(404)
    for status, answer in problems(*sorted(expected)).items():
        operation["responses"].setdefault(str(status), answer)
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _add_links(operation: Any) -> None:
    links = {
        target: {"operationId": target, "parameters": {TAKEN_AS.get(field, field): f"$response.body#/{field}"}}
        for field, targets in FOLLOWED.get(operation["operationId"], {}).items()
        for target in targets
    }
    for status, answer in operation["responses"].items():
        if links and status.startswith("2"):
            answer["links"] = links


def _add_examples(spec: Any) -> None:
    """Each JSON body with an example, put together from the examples of its fields."""
    for *_, operation in operations(spec):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for kind, media in (pair for body in bodies for pair in body.get("content", {}).items()):
            if kind.endswith("json") and "example" not in media:
                media["example"] = example_of(media["schema"], spec)
