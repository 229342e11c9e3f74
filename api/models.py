"""/v1/models: register, describe, activate, roll back and retire model versions."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from apiflask import APIBlueprint
from flask import request, url_for
from pydantic import BaseModel, Field

from api.errors import problems, validated
from api.fields import SHA256, File, Links, Metadata, NextCursor, Strict, answer_of, link_to
from api.specification import either_body
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.storable import NormalizedText
from umbel.base.tables import ModelVersion
from umbel.base.types import IndexKind, ModelState
from umbel.jobs.outcomes import retry_transient
from umbel.models import checkpoints, lifecycle, partitions, versions
from umbel.models.calibration import domain_of
from umbel.models.external import register_external
from umbel.models.partitions import IndexState

bp = APIBlueprint("models", __name__, tag="Models")

MOST_DIM = 4_000  # what HNSW takes in half precision
ModelName = Annotated[NormalizedText, Field(min_length=1, max_length=200, examples=["clip-vit-b32"])]
DEAD_SHARE = 0.1  # of an index, beyond which rebuilding it pays


class ModelFormIn(Strict):
    weights: File = Field(description="The checkpoint: a .safetensors file.")
    card: File = Field(description="The card that lies beside it: .json.")
    split: File | None = Field(
        None, description="The images it was trained on: .split.json. It is not evaluated on those."
    )


class ExternalModelIn(Strict):
    """A model that runs elsewhere: its vectors are brought by POST /v1/models/{version_id}/vectors."""

    name: ModelName
    dim: int = Field(ge=1, le=MOST_DIM, description="Length of its vectors.", examples=[512])
    metric: Literal["cosine"] = Field("cosine", description="How they are compared; they are brought to unit length.")
    card: Metadata = Field(
        default_factory=dict, description="What else is to be kept of it: a JSON object of your own."
    )


class VersionIndexOut(BaseModel):
    valid: bool = Field(description="Whether it is there and used; else searches scan exactly.")
    bytes: int
    rows: int = Field(description="Vectors, as Postgres last counted them.")
    dead_rows: int = Field(description="Of deleted pictures, and not vacuumed yet.")
    m: int
    ef_construction: int
    kind: IndexKind = Field(
        description="What it is of. halfvec: the vectors, in half precision; bits: the signs of their numbers."
    )
    collections: int = Field(description="That have an index of their own beside it: UMBEL_COLLECTION_INDEX_ABOVE.")
    collection_bytes: int = Field(description="Of these indexes together.")
    advice: str | None = Field(description="What would make searches better, if anything would.")


class ModelOut(BaseModel):
    id: UUID
    name: str
    architecture: str = Field(
        description="By timm's name; `external`: others compute its vectors.", examples=["tf_efficientnetv2_b0.in1k"]
    )
    domain: str | None = Field(
        description="What it is for, by its card: general, or a kind of pictures; null: not said.", examples=["flowers"]
    )
    arithmetic: Literal["float", "int8"] | None = Field(
        description="What it computes in; vectors of int8 are a version's own. null: others compute it."
    )
    dim: int = Field(description="Length of its vectors.")
    weights_sha256: str = Field(description="Of an external version, a hash of its name.", examples=[SHA256])
    generation: int = Field(description="2 or more: everything was re-embedded with the same model.", examples=[1])
    preprocessing_hash: str
    state: ModelState = Field(
        description="active: searches use it; backfilling: a reindex is at work; ready: it has all pictures and can"
        " become active at once; registered: it may have some; retired: its vectors are gone."
    )
    metrics: dict[str, Any] = Field(description="From its card.")
    replaced: UUID | None = Field(description="The version that was active before it, and a rollback would return to.")
    created_at: datetime
    activated_at: datetime | None
    links: Links


class ModelDetailOut(ModelOut):
    card: dict[str, Any]
    index: VersionIndexOut | None


class ModelsOut(BaseModel):
    items: list[ModelOut]
    next_cursor: NextCursor


@bp.get("/v1/models")
@bp.output(ModelsOut)
def list_models() -> Any:
    """List the model versions, newest first."""
    with transaction() as session:
        rows = versions.list_versions(session)
    return ModelsOut(items=[_out(row) for row in rows], next_cursor=None)


@bp.post("/v1/models")
@bp.output(ModelOut, status_code=201, description="Registered, or known already")
@bp.doc(extensions=either_body(json=ExternalModelIn, form=ModelFormIn), responses=problems(409, 507))
def register_model() -> Any:
    """Register a checkpoint of `umbel train`, or an external model, whose vectors are brought.

    As multipart: a checkpoint's weights, its card, and the list of images that it was trained on.
    POST /v1/admin/reindex embeds the images with it. The same weights again are the same version.
    As JSON: an external model, which no worker runs. POST /v1/models/{version_id}/vectors brings its vectors, and
    searches, comparisons and maps use them where they name it as `model_version`; it never becomes active. The same
    name again is the same version.
    """
    if request.mimetype != "multipart/form-data":
        return _registered(_register_external(validated(ExternalModelIn.model_validate, request.get_json())))
    form = validated(ModelFormIn.model_validate, request.files.to_dict())
    candidate = checkpoints.read_candidate(
        form.weights.read(), form.card.read(), form.split.read() if form.split else None
    )

    def register() -> ModelVersion:
        with transaction() as session:
            return checkpoints.register(session, blobs(), candidate)

    return _registered(retry_transient(register))


def _register_external(body: ExternalModelIn) -> ModelVersion:
    card = {**body.card, "name": body.name, "dim": body.dim, "metric": body.metric}

    def register() -> ModelVersion:
        with transaction() as session:
            return register_external(session, name=body.name, dim=body.dim, card=card)

    return retry_transient(register)


def _registered(version: ModelVersion) -> Any:
    return _out(version), 201, {"Location": url_for("models.get_model", version_id=version.id)}


@bp.get("/v1/models/<uuid:version_id>")
@bp.output(ModelDetailOut)
def get_model(version_id: UUID) -> Any:
    """Describe a model version: its whole card, and how its index is."""
    with transaction() as session:
        version = versions.get_version(session, version_id)
        index = partitions.find_index_state(session, version_id)
    return answer_of(ModelDetailOut, version, index=index and _index_out(index), **_beside(version))


@bp.post("/v1/models/<uuid:version_id>/activate")
@bp.output(ModelOut)
@bp.doc(responses=problems(409))
def activate_model(version_id: UUID) -> Any:
    """Let searches use this version from now on. It must have a vector of every image. Twice is harmless."""
    return _out(lifecycle.activate(transaction, version_id))


@bp.post("/v1/models/<uuid:version_id>/rollback")
@bp.output(ModelOut)
@bp.doc(responses=problems(409))
def rollback_model(version_id: UUID) -> Any:
    """Return from this version, the active one, to the one it replaced, which is the answer."""
    return _out(lifecycle.rollback(transaction, version_id))


@bp.post("/v1/models/<uuid:version_id>/retire")
@bp.output(ModelOut)
@bp.doc(responses=problems(409))
def retire_model(version_id: UUID) -> Any:
    """Delete a version's vectors, within a minute. Its files stay. Twice is harmless."""
    return _out(lifecycle.retire(transaction, version_id))


def _out(row: ModelVersion) -> ModelOut:
    return answer_of(ModelOut, row, **_beside(row))


def _beside(row: ModelVersion) -> dict[str, Any]:
    """The fields that have another name or place in the row."""
    link = link_to(f"/v1/models/{row.id}")
    links = {"self": link} | {verb: f"{link}/{verb}" for verb in ("activate", "rollback", "retire")}
    said = {"metrics": row.card.get("metrics", {}), "domain": domain_of(row)}
    said["arithmetic"] = versions.arithmetic_of(row)
    return said | {"replaced": row.replaced_id, "links": links}


def _index_out(index: IndexState) -> VersionIndexOut:
    advice = None
    if index.valid and index.dead > DEAD_SHARE * (index.rows + index.dead):
        share = index.dead / (index.rows + index.dead)
        advice = (
            f"{share:.0%} of its vectors are of deleted pictures, which every search steps over: build the index anew"
            ' (POST /v1/admin/reindex {"mode": "index"}), then VACUUM the partition, which is quicker after it.'
        )
    return answer_of(VersionIndexOut, index, dead_rows=index.dead, advice=advice, **asdict(index.hnsw))
