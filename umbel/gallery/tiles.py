"""Tiles: overlapping parts of an image, whose vectors are searched beside its own in collections that ask for it."""

from collections.abc import Collection as Ids
from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from umbel.base.tables import Collection
from umbel.base.types import Box


def grid(count: int, side: float) -> list[Box]:
    """count × count boxes of these sides, evenly spread."""
    places = [place * (1 - side) / (count - 1) for place in range(count)]
    return [Box(round(x, 4), round(y, 4), side, side) for y in places for x in places]


# The tiles of an image by how many there are, each by its number, which no two layouts share.
LAYOUTS: Mapping[int, Mapping[int, Box]] = {
    0: {},
    4: dict(enumerate(grid(2, 0.6), 1)),
    9: dict(enumerate(grid(3, 0.5), 5)),
}
# The collections that ask for some.
TILED_SQL = "ARRAY(SELECT id FROM collection WHERE tiles > 0 AND deleted_at IS NULL)"
BOXES = {number: box for layout in LAYOUTS.values() for number, box in layout.items()}


def find_layouts(session: Session, collection_ids: Ids[UUID]) -> dict[UUID, int]:
    """How many tiles the images of these collections have; without those that have none."""
    tiled = select(Collection.id, Collection.tiles).where(Collection.id.in_(collection_ids), Collection.tiles > 0)
    return {row[0]: row[1] for row in session.execute(tiled)}
