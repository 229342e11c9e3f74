"""/v1/models: model versions registered, looked at, activated, gone back from, retired."""

from typing import Any
from uuid import UUID

from apiflask import APIBlueprint
from flask import request, url_for

from api.errors import problems, validated
from api.schemas.fields import answer_of
from api.schemas.models import ModelDetailOut, ModelFormIn, ModelOut, ModelsOut, VersionIndexOut
from api.specification import either_body
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.tables import ModelVersion
from umbel.jobs.outcomes import retry_transient
from umbel.models import checkpoints, lifecycle, partitions, versions
from umbel.models.partitions import IndexState

bp = APIBlueprint("models", __name__, tag="Models")

DEAD_SHARE = 0.1  # of an index from which on it is worth building anew
FORM = either_body(form=ModelFormIn)


@bp.get("/v1/models")
@bp.output(ModelsOut)
def list_models() -> Any:
    """List the model versions, newest first."""
    with transaction() as session:
        rows = versions.list_versions(session)
    return ModelsOut(items=[_out(row) for row in rows], next_cursor=None)


@bp.post("/v1/models")
@bp.output(ModelOut, status_code=201, description="Registered, or known already")
@bp.doc(extensions=FORM, responses=problems(400, 409, 413, 422, 503, 507))
def register_model() -> Any:
    """Register a checkpoint of `umbel train`: its weights, its card, and who it was trained on.

    Nothing is embedded with it yet: POST /v1/admin/reindex does that. The same weights again are the same version.
    """
    form = validated(ModelFormIn.model_validate, request.files.to_dict())
    candidate = checkpoints.read_candidate(
        form.weights.read(), form.card.read(), form.split.read() if form.split else None
    )

    def register() -> ModelVersion:
        with transaction() as session:
            return checkpoints.register(session, blobs(), candidate)

    version = retry_transient(register)
    return _out(version), 201, {"Location": url_for("models.get_model", version_id=version.id)}


@bp.get("/v1/models/<uuid:version_id>")
@bp.output(ModelDetailOut)
@bp.doc(responses=problems(404))
def get_model(version_id: UUID) -> Any:
    """Describe a model version: its whole card, and how its index is."""
    with transaction() as session:
        version = versions.get_version(session, version_id)
        index = partitions.find_index_state(session, version_id)
    return answer_of(ModelDetailOut, version, index=index and _index_out(index), **_beside(version))


@bp.post("/v1/models/<uuid:version_id>/activate")
@bp.output(ModelOut)
@bp.doc(responses=problems(404, 409, 503))
def activate_model(version_id: UUID) -> Any:
    """Let searches use this version from now on. It must have every picture. Saying it twice is harmless."""
    return _out(lifecycle.activate(transaction, version_id))


@bp.post("/v1/models/<uuid:version_id>/rollback")
@bp.output(ModelOut)
@bp.doc(responses=problems(404, 409, 503))
def rollback_model(version_id: UUID) -> Any:
    """Go back from this version, the active one, to the one it replaced, which is the answer."""
    return _out(lifecycle.rollback(transaction, version_id))


@bp.post("/v1/models/<uuid:version_id>/retire")
@bp.output(ModelOut)
@bp.doc(responses=problems(404, 409, 503))
def retire_model(version_id: UUID) -> Any:
    """Give up a version's vectors, which are removed within a minute. Its files stay. Twice is harmless."""
    return _out(lifecycle.retire(transaction, version_id))


def _out(row: ModelVersion) -> ModelOut:
    return answer_of(ModelOut, row, **_beside(row))


def _beside(row: ModelVersion) -> dict[str, Any]:
    """What an answer does not call as the row does."""
    link = f"/v1/models/{row.id}"
    links = {"self": link} | {verb: f"{link}/{verb}" for verb in ("activate", "rollback", "retire")}
    return {"metrics": row.card.get("metrics", {}), "replaced": row.replaced_id, "links": links}


def _index_out(index: IndexState) -> VersionIndexOut:
    advice = None
    if index.valid and index.dead > DEAD_SHARE * (index.rows + index.dead):
        share = index.dead / (index.rows + index.dead)
        advice = (
            f"{share:.0%} of its vectors are of deleted pictures, which every search steps over: build the index anew"
            ' (POST /v1/admin/reindex {"mode": "index"}), then VACUUM the partition, which is quicker after it.'
        )
    hnsw = {"m": index.hnsw.m, "ef_construction": index.hnsw.ef_construction}
    return answer_of(VersionIndexOut, index, dead_rows=index.dead, advice=advice, **hnsw)
