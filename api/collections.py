"""/v1/collections."""

from typing import Any

from apiflask import APIBlueprint

from api.schemas.collections import CollectionOut, CollectionsOut
from db import collections
from db.session import transaction

bp = APIBlueprint("collections", __name__, tag="Collections")


@bp.get("/v1/collections")
@bp.output(CollectionsOut)
def list_collections() -> Any:
    """List the collections with their number of images, by name."""
    with transaction() as session:
        rows = collections.list_collections(session)
    return CollectionsOut(
        items=[CollectionOut.model_validate(row, from_attributes=True) for row in rows], next_cursor=None
    )
