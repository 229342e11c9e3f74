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

from api import events, idempotency, preconditions, signatures
from api.errors import ProblemOut, problems
from api.needs import NEEDS, STRICTEST
from umbel.base.storable import COLLECTION_NAME

SCHEMAS = "#/components/schemas/"
METHODS = ("get", "post", "put", "patch", "delete")
LIVENESS = ("/healthz", "/readyz")  # they need no database, or report themselves what is missing

TAGS = {
    "Images": "Upload, list, describe, change and remove images.",
    "Trash": "Removed images, which can be restored for some days.",
    "Imports": "One job for many pictures.",
    "Syncs": "Folders and buckets that are followed: what is new, changed or gone there is taken over every so often.",
    "Jobs": "Progress and control of what runs in the background. Status is read from the ledger in Postgres.",
    "Events": "What happens to jobs, images and models, as it happens.",
    "Webhooks": "Events delivered to an address, signed, until they are taken.",
    "Search": "The most similar images, and what an image shows.",
    "Vectors": "Vectors out of the gallery and into it.",
    "Duplicates": "Near-duplicates.",
    "Label issues": "Probably wrong labels.",
    "Curation": "Which images to look at first: outliers, representatives, those most worth a label.",
    "Collections": "A collection is deduplicated, searched and deleted on its own.",
    "Map": "The gallery in two dimensions: similar images lie together.",
    "Models": "Model versions. Exactly one is active; searches use it.",
    "Admin": "Recall, reindexing and the audit log.",
    "Keys": "Who may do what. A key is told once, when it is made.",
    "Session": "Sign a browser in with a key, and out.",
    "Health": "For supervisors, load balancers and Prometheus.",
    "Predecessor": "The request of the service that Umbel replaces.",
}
IN_PATHS: dict[str, Any] = {
    "name": {"type": "string", "pattern": f"^{COLLECTION_NAME}$", "examples": ["garden"]},
    **{
        name: {"type": "string", "format": "uuid", "examples": ["019b2f6e-0000-7000-8000-000000000000"]}
        for name in ("image_id", "job_id", "sync_id", "version_id", "webhook_id", "delivery_id", "key_id")
    },
}
REQUEST_ID: Any = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "description": "Your name for the request, at most 64 printable ASCII characters: the answer and the log carry it.",
    "schema": {"type": "string"},
}
HEADERS = {
    "upload_image": [idempotency.HEADER],
    "open_import": [idempotency.HEADER],
    **{name: [idempotency.HEADER] for name in ("change_images", "remove_images", "restore_images", "purge_images")},
    "change_image": [preconditions.HEADER],
    "remove_image": [preconditions.HEADER],
    "follow_events": [events.LAST_EVENT_ID],
    "get_file": signatures.PARAMETERS,
    "get_thumbnail": signatures.PARAMETERS,
}
KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of `umbel keys create` or POST /v1/admin/keys. Without keys the service answers to all who"
    " reach it.",
}
# Links: {operation: {field of its answer: operations that take the field in their path}}.
FOLLOWED = {
    "upload_image": {
        "job_id": ["get_job"],
        "image_id": ["get_image", "similar_images", "change_image", "remove_image"],
    },
    "open_import": {"job_id": ["get_job", "list_items", "pause_job", "resume_job", "close_job", "cancel_job"]},
    "add_sync": {"id": ["get_sync", "change_sync", "run_sync", "pause_sync", "resume_sync", "remove_sync"]},
    "run_sync": {"job_id": ["get_job", "list_items", "cancel_job"]},
    "create_collection": {"name": ["get_collection", "delete_collection"]},
    "delete_collection": {"job_id": ["get_job"]},
    **{
        name: {"job_id": ["get_job", "list_items", "cancel_job"]}
        for name in ("change_images", "remove_images", "restore_images", "purge_images")
    },
    "register_model": {"id": ["get_model"]},
    "create_webhook": {
        "id": [
            "get_webhook",
            "list_deliveries",
            "enable_webhook",
            "disable_webhook",
            "replay_events",
            "delete_webhook",
        ]
    },
    "create_key": {"id": ["revoke_key"]},
    "reindex": {"job_id": ["get_job", "cancel_job"]},
}
# The parameter's name, by operation, where it is not the field's.
TAKEN_AS = {
    "register_model": {"id": "version_id"},
    "create_webhook": {"id": "webhook_id"},
    "create_key": {"id": "key_id"},
    "add_sync": {"id": "sync_id"},
}

BY_FORMAT = {
    "uuid": "019b2f6e-0000-7000-8000-000000000000",
    "date-time": "2026-11-27T09:30:00Z",
    "binary": "(bytes)",
}
BY_TYPE = {"string": "text", "integer": 1, "number": 0.5, "boolean": False, "null": None}

_referenced: set[type[BaseModel]] = {ProblemOut, events.EventOut}


def either_body(*, form: type[BaseModel] | None = None, json: type[BaseModel] | None = None) -> dict[str, Any]:
    """For `bp.doc(extensions=…)`: the body of a route that takes JSON or a form, or validates its form itself."""
    models = {"application/json": json, "multipart/form-data": form}
    _referenced.update(model for model in models.values() if model)
    content = {kind: {"schema": _ref(model.__name__)} for kind, model in models.items() if model}
    return {"requestBody": {"required": True, "content": content}}


def install(app: APIFlask) -> None:
    """Complete the application's specification."""
    app.config["SECURITY_SCHEMES"] = {"key": KEY}
    for endpoint, view in app.view_functions.items():
        described = getattr(view, "_spec", {})
        # Generated clients take the names of their functions from the id.
        described["operation_id"] = described.get("operation_id") or endpoint.rpartition(".")[2]
        if need := NEEDS.get(endpoint, STRICTEST):
            described["extensions"] = {**(described.get("extensions") or {}), "x-scope": need.described}

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
        spec["webhooks"] = {"event": {"post": _delivery(spec)}}
        _add_examples(spec)
        spec["tags"] = [{"name": tag, "description": description} for tag, description in TAGS.items()]
        return spec


def _delivery(spec: Any) -> dict[str, Any]:
    """The request that a webhook receives."""
    schema = _ref(events.EventOut.__name__)
    headers = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return {
        "operationId": "receive_event",
        "summary": "An event, sent to the URL of a webhook.",
        "description": "Signed as https://www.standardwebhooks.com specify. Sent until it is answered with 2xx.",
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in headers
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example_of(schema, spec)}},
        },
        "responses": {
            "2XX": {"description": "Taken."},
            "410": {"description": "Gone for good: the webhook is disabled."},
            "default": {"description": "Not taken: it is sent again later."},
        },
    }


def operations(spec: Any) -> Iterator[tuple[str, str, Any]]:
    """(path, method, operation) of each."""
    for path, item in spec["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _ref(name: str) -> dict[str, str]:
    return {"$ref": SCHEMAS + name}


def _merge_schemas(spec: Any) -> None:
    """Merge schemas that APIFlask names after each schema that contains them (JobsOut.CountsOut, JobOut.CountsOut)."""
    _, referenced = models_json_schema(
        [(model, "validation") for model in _referenced], ref_template=SCHEMAS + "{model}"
    )
    schemas: dict[str, Any] = dict(referenced.get("$defs", {}))
    for name, schema in spec["components"]["schemas"].items():
        schemas.setdefault(name.rpartition(".")[2], schema)
    spec["components"]["schemas"] = dict(sorted(schemas.items()))
    for node in _nodes(spec):
        if "$ref" in node:
            node["$ref"] = _short(node["$ref"])
        if "propertyName" in node:  # a discriminator
            node["mapping"] = {value: _short(reference) for value, reference in node.get("mapping", {}).items()}


def _short(reference: str) -> str:
    """Without the names of the schemas that contain it."""
    return re.sub(r"[^/]+\.", "", reference)


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    """All objects at and below a node."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(child)


def _complete_bodies(spec: Any, operation: Any) -> None:
    """Mark bodies as required, which OpenAPI does not assume, and drop null from forms, which cannot send it."""
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
    """The schema without null: a parameter is left out instead."""
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
    taken_as = TAKEN_AS.get(operation["operationId"], {})
    links = {
        target: {"operationId": target, "parameters": {taken_as.get(field, field): f"$response.body#/{field}"}}
        for field, targets in FOLLOWED.get(operation["operationId"], {}).items()
        for target in targets
    }
    for status, answer in operation["responses"].items():
        if links and status.startswith("2"):
            answer["links"] = links


def _add_examples(spec: Any) -> None:
    """Give each JSON body an example, composed of the examples of its fields."""
    for *_, operation in operations(spec):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for kind, media in (pair for body in bodies for pair in body.get("content", {}).items()):
            if kind.endswith("json") and "example" not in media:
                media["example"] = example_of(media["schema"], spec)


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
