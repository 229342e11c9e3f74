"""/v1/models: the model versions and their states."""

from typing import Any

from apiflask import APIBlueprint

from api.schemas.models import ModelOut, ModelsOut
from db import model_versions
from db.session import transaction

bp = APIBlueprint("models", __name__, tag="Models")


@bp.get("/v1/models")
@bp.output(ModelsOut)
def list_models() -> Any:
    """List the model versions, newest first."""
    with transaction() as session:
        rows = model_versions.list_versions(session)
    return ModelsOut(
        items=[
            ModelOut(
                id=row.id,
                name=row.name,
                architecture=row.architecture,
                dim=row.dim,
                weights_sha256=row.weights_sha256,
                preprocessing_hash=row.preprocessing_hash,
                state=row.state,
                metrics=row.card.get("metrics", {}),
                created_at=row.created_at,
                activated_at=row.activated_at,
            )
            for row in rows
        ],
        next_cursor=None,
    )
