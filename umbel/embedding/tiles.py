"""The vectors of tiles: stored beside those of their images, found lacking, and removed where they are not wanted."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from pgvector import HalfVector
from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.copy import stage_rows
from umbel.base.database import Transaction
from umbel.base.types import Vectors
from umbel.embedding.embeddings import OF_BLOBS
from umbel.gallery.tiles import LAYOUTS, TILED_SQL
from umbel.models import versions

BATCH = 2_000  # rows deleted in one transaction, and those of the last image
TURNS = 50  # batches of one cleanup; the next comes with the next sweep
STAGED = {"image_id": "uuid", "number": "smallint", "collection_id": "uuid", "vector": "halfvec", "blob_key": "text"}

# Images that have no tiles under one of these versions, though they have a vector and their collection asks for tiles.
UNTILED = f"""
    SELECT DISTINCT e.image_id FROM embedding e
    WHERE e.model_version_id = ANY (:versions) AND e.collection_id = ANY ({TILED_SQL}) AND NOT EXISTS (
        SELECT FROM tile t WHERE t.image_id = e.image_id AND t.model_version_id = e.model_version_id)
"""
# A collection that has tiles and asks for none.
FORMER = text("""
    SELECT c.id FROM collection c CROSS JOIN LATERAL (
        SELECT FROM tile t WHERE t.collection_id = c.id LIMIT 1) present
    WHERE c.tiles = 0 LIMIT 1
""")
THERE = text("SELECT EXISTS (SELECT FROM tile WHERE collection_id = :collection)")
REMOVE = text("""
    DELETE FROM tile WHERE collection_id = :collection AND image_id = ANY (ARRAY(
        SELECT image_id FROM tile WHERE collection_id = :collection LIMIT :limit))
""")


def upsert_tiles(
    session: Session,
    version_id: UUID,
    images: Iterable[tuple[UUID, UUID, str, int, Vectors]],
) -> None:
    """Store the vectors of tiles of images: each (image id, collection id, blob, layout, (layout, dim) float32).

    blob: that they were made of; an image that has another by now gets none. What is there already stays.
    """
    rows = [
        (image_id, number, collection_id, HalfVector(vector), blob)
        for image_id, collection_id, blob, layout, vectors in images
        for number, vector in zip(LAYOUTS[layout], vectors, strict=True)
    ]
    if not rows:
        return
    stage_rows(session, "staged_tile", STAGED, rows)
    session.execute(
        text(f"""
            INSERT INTO tile (model_version_id, image_id, number, collection_id, vector)
            SELECT :version, image_id, number, s.collection_id, vector FROM staged_tile s {OF_BLOBS}
            ON CONFLICT DO NOTHING
        """),
        {"version": version_id},
    )


def find_untiled(session: Session, images: Sequence[UUID], version_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these images that lack their tiles under one of these versions, though they have a vector under it."""
    of_these = text(f"{UNTILED} AND e.image_id = ANY (:images)")
    return set(session.scalars(of_these, {"images": list(images), "versions": list(version_ids)}))


def has_tiles(session: Session, collection_id: UUID) -> bool:
    """Whether there are tiles of the collection, wanted or not."""
    return bool(session.scalar(THERE, {"collection": collection_id}))


def remove_former_tiles(transaction: Transaction) -> bool:
    """Remove the tiles of collections that ask for none any more, a batch a transaction. Returns whether none is left.

    Raises NotReady, TransientError.
    """
    return any(not _remove_some(transaction) for _ in range(TURNS))


def _remove_some(transaction: Transaction) -> bool:
    with transaction() as session:
        versions.lock_states(session, shared=True)  # no collection is switched to tiles meanwhile
        collection_id = session.scalar(FORMER)
        if collection_id is not None:
            session.execute(REMOVE, {"collection": collection_id, "limit": BATCH})
        return collection_id is not None
