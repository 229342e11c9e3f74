"""Tiles of a collection switched on and off, and what that costs.

Switched on, a job embeds the images that are there. Those that come later get their tiles with their vector, since the
setting is read under the lock that this takes whenever a batch is stored. Switched off, searches leave tiles out at
once, and the cleanup removes them.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text, update
from sqlalchemy.orm import Session

from umbel.base.errors import Conflict
from umbel.base.tables import Collection
from umbel.base.types import JobType
from umbel.changes.bulk import begin_bulk
from umbel.changes.bulk_rows import Chosen
from umbel.embedding import tiles
from umbel.gallery import collections
from umbel.gallery.filters import EVERYTHING
from umbel.models import versions

# What a tile takes beside the numbers of its vector, which are in the table and in the index: measured with 512.
OTHER_BYTES = 840
LEAST = 20  # images of a job that tells how fast workers are
# The fastest of the last jobs of each kind that embeds many images.
SPEED = text("""
    SELECT max(indexed / greatest(extract(epoch FROM finished_at - started_at), 0.001)) FROM
        unnest(ARRAY['import', 'reindex', 'repair']) AS kinds(kind)
        CROSS JOIN unnest(ARRAY['succeeded', 'partial']) AS ends(ended)
        CROSS JOIN LATERAL (SELECT * FROM job WHERE status = ended AND type = kind ORDER BY id DESC LIMIT 20) last
    WHERE indexed >= :least
""")


@dataclass(frozen=True, slots=True)
class TilingCost:
    """What a collection's tiles take. vectors: one for each, under each maintained model version.

    bytes: of these and their index. seconds: for workers to embed the images that are there; None: not known.
    """

    vectors: int
    bytes: int
    seconds: float | None


def estimate_tiling(session: Session, name: str, count: int) -> TilingCost:
    """What `count` tiles of each image that the collection has now take. Raises NotFound."""
    images = collections.describe_collection(session, name).images
    maintained = [versions.get_version(session, each) for each in versions.list_maintained(session)]
    row = sum(2 * 2 * version.dim + OTHER_BYTES for version in maintained)
    seconds: float | None = 0.0
    if count:
        speed = session.scalar(SPEED, {"least": LEAST})
        seconds = images * (1 + count) / float(speed) if speed else None
    return TilingCost(images * count * len(maintained), images * count * row, seconds)


def set_tiles(session: Session, name: str, count: int) -> UUID | None:
    """Give the images of a collection `count` tiles each: 0, 4 or 9. Returns the job that embeds them, if there is one.

    The transaction holds no locks yet. Raises NotFound, and Conflict for a change from one layout to another, or while
    former tiles are being removed.
    """
    versions.lock_states(session)
    collection_id = collections.get_collection(session, name)
    current = session.get_one(Collection, collection_id, populate_existing=True).tiles
    if count == current:
        return None
    if count and current:
        raise Conflict(f"Images of {name!r} have {current} tiles: switch these off before you ask for {count}.")
    if count and tiles.has_tiles(session, collection_id):
        raise Conflict(f"Former tiles of {name!r} are still being removed; try again in a minute.")
    session.execute(update(Collection).where(Collection.id == collection_id).values(tiles=count))
    if not count:
        return None
    return begin_bulk(session, JobType.TILING, Chosen(filter=EVERYTHING), collection=name)
