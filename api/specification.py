"""The OpenAPI document: what APIFlask gathers from the routes, completed, and nothing in it twice.

Routes name the answers that are theirs alone; what follows from a route's shape (a body can be malformed, an id can be
unknown, the database can be away) is added here for all.
"""

import re
from collections.abc import Iterator
from typing import Any

from apiflask import APIFlask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.errors import problems
from api.examples import example_of
from api.needs import NEEDS, STRICTEST, Need
from api.schemas.fields import NAME
from api.schemas.problem import ProblemOut

SCHEMAS = "#/components/schemas/"
METHODS = ("get", "post", "put", "patch", "delete")
LIVENESS = ("/healthz", "/readyz")  # they ask nothing of the database, or say themselves what is missing

TAGS = {
    "Images": "Pictures going in, and what is known of them.",
    "Imports": "One job for many pictures.",
    "Jobs": "What was asked for, and how far it is. Status is read from the ledger in Postgres.",
    "Search": "The most similar pictures, and what a picture shows.",
    "Duplicates": "Near-duplicates.",
    "Label issues": "Labels that the neighbors doubt.",
    "Collections": "A collection is deduplicated, searched and deleted on its own.",
    "Map": "The gallery on a plane: pictures that look alike lie together.",
    "Models": "Model versions. Exactly one is active; searches use it.",
    "Admin": "What the operator of a service wants to know, and to have done.",
    "Session": "A browser signs in with a key once, and out again.",
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
IDEMPOTENCY_KEY: Any = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A request that is repeated with its key is answered as the first one was.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
HEADERS = {"upload_image": [IDEMPOTENCY_KEY]}
KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of `umbel keys create`. Without keys the service answers to all who reach it.",
}
# What comes next with the id that an answer gives: {operation: {link: (operation, {parameter: where it is})}}.
FOLLOWED = {
    "upload_image": {
        "job": ("get_job", {"job_id": "$response.body#/job_id"}),
        "image": ("get_image", {"image_id": "$response.body#/image_id"}),
        "similar": ("similar_images", {"image_id": "$response.body#/image_id"}),
        "change": ("change_image", {"image_id": "$response.body#/image_id"}),
        "remove": ("remove_image", {"image_id": "$response.body#/image_id"}),
    },
    "open_import": {
        "job": ("get_job", {"job_id": "$response.body#/job_id"}),
        "items": ("list_items", {"job_id": "$response.body#/job_id"}),
        "pause": ("pause_job", {"job_id": "$response.body#/job_id"}),
        "resume": ("resume_job", {"job_id": "$response.body#/job_id"}),
        "close": ("close_job", {"job_id": "$response.body#/job_id"}),
        "cancel": ("cancel_job", {"job_id": "$response.body#/job_id"}),
    },
    "create_collection": {
        "collection": ("get_collection", {"name": "$response.body#/name"}),
        "delete": ("delete_collection", {"name": "$response.body#/name"}),
    },
    "delete_collection": {"job": ("get_job", {"job_id": "$response.body#/job_id"})},
    "register_model": {"model": ("get_model", {"version_id": "$response.body#/id"})},
    "reindex": {
        "job": ("get_job", {"job_id": "$response.body#/job_id"}),
        "cancel": ("cancel_job", {"job_id": "$response.body#/job_id"}),
    },
}

_referenced: set[type[BaseModel]] = {ProblemOut}


def either_body(*, form: type[BaseModel], json: type[BaseModel] | None = None) -> dict[str, Any]:
    """For `bp.doc(extensions=…)`: the body of a route that takes JSON or a form, or validates its form itself."""
    models = {"application/json": json, "multipart/form-data": form}
    _referenced.update(model for model in models.values() if model)
    content = {kind: {"schema": _ref(model.__name__)} for kind, model in models.items() if model}
    return {"requestBody": {"required": True, "content": content}}


def install(app: APIFlask) -> None:
    """Let the application's specification be complete."""

    @app.spec_processor
    def complete(spec: Any) -> Any:
        _merge_schemas(spec)
        spec["components"]["securitySchemes"] = {"key": KEY}
        _name_operations(app, spec)
        for path, _, operation in operations(spec):
            _complete_bodies(spec, operation)
            _complete_parameters(operation)
            _complete_answers(path, operation)
            _add_links(operation)
        _add_examples(spec)
        used = {tag for *_, operation in operations(spec) for tag in operation["tags"]}
        spec["tags"] = [{"name": tag, "description": TAGS.get(tag, "")} for tag in sorted(used, key=_order)]
        return spec


def operations(spec: Any) -> Iterator[tuple[str, str, Any]]:
    """(path, method, operation) of each."""
    for path, item in spec["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _order(tag: str) -> int:
    return list(TAGS).index(tag) if tag in TAGS else len(TAGS)


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


def _name_operations(app: APIFlask, spec: Any) -> None:
    """An operation is called as its function is: generated clients take their names from it."""
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in METHODS:
            if method.upper() in (rule.methods or ()) and method in spec["paths"].get(path, {}):
                operation = spec["paths"][path][method]
                operation.setdefault("operationId", rule.endpoint.rpartition(".")[2])
                _say_who_may(operation, NEEDS.get(rule.endpoint, STRICTEST), keys_required=app.config["REQUIRE_KEYS"])


def _say_who_may(operation: Any, need: Need | None, *, keys_required: bool) -> None:
    if need is None:
        return
    operation["security"] = [{"key": []}] if keys_required else [{"key": []}, {}]
    operation["x-scope"] = need.scope.value
    for status, answer in problems(401, 403, 429).items():
        operation["responses"].setdefault(str(status), answer)


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
        name: {"operationId": target, "parameters": parameters}
        for name, (target, parameters) in FOLLOWED.get(operation["operationId"], {}).items()
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
