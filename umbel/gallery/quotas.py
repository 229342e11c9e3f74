"""Quotas of collections: set, and how much room they leave. What is used is counted by triggers while there is one."""

from collections.abc import Collection as Ids
from dataclasses import dataclass
from math import inf
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from umbel.base.errors import QuotaExceeded
from umbel.base.tables import Collection, Image
from umbel.gallery.collections import PRESENT, get_collection


@dataclass(slots=True)
class Room:
    """What a collection still takes: so many images, with so many bytes; infinity where there is no limit."""

    collection: str
    images: float
    bytes: float

    def take(self, size: int) -> None:
        """Give room to a picture of that many bytes. Raises QuotaExceeded when there is none."""
        if self.images < 1:
            raise QuotaExceeded(f"The collection {self.collection!r} has as many pictures as its quota lets it have.")
        if self.bytes < size:
            raise QuotaExceeded(f"The collection {self.collection!r} has no room for {size:,} bytes under its quota.")
        self.images -= 1
        self.bytes -= size

    def replace(self, former: int, size: int) -> None:
        """Give the room of a picture of `former` bytes to another one. Raises QuotaExceeded where it needs too much."""
        if self.bytes < size - former:
            raise QuotaExceeded(f"The collection {self.collection!r} has no room for {size:,} bytes under its quota.")
        self.bytes -= size - former


def lock_rooms(session: Session, collection_ids: Ids[UUID]) -> dict[UUID, Room]:
    """The room of collections that have a quota; no other transaction adds to them until this one ends."""
    if not collection_ids:
        return {}
    locked = select(Collection).where(Collection.id.in_(collection_ids)).order_by(Collection.id)
    rows = session.scalars(locked.with_for_update(key_share=True).execution_options(populate_existing=True))
    return {
        row.id: Room(row.name, _left(row.max_images, row.used_images), _left(row.max_bytes, row.used_bytes))
        for row in rows
    }


def list_limited(session: Session, collection_ids: Ids[UUID]) -> list[UUID]:
    """Those that have a quota."""
    limited = Collection.max_images.is_not(None) | Collection.max_bytes.is_not(None)
    return list(session.scalars(select(Collection.id).where(Collection.id.in_(collection_ids), limited)))


def set_quota(session: Session, name: str, changes: dict[str, int | None]) -> None:
    """Change `max_images` and `max_bytes`, None for no limit, and count what is used. Raises NotFound.

    A quota below what is used takes nothing away: nothing more comes in.
    """
    collection_id = get_collection(session, name)
    # Waits for all who are adding or removing, so that what they do is counted once.
    session.execute(select(Collection.id).where(Collection.id == collection_id).with_for_update())
    used = select(func.count(), func.coalesce(func.sum(Image.size), 0)).where(Image.collection_id == collection_id)
    images, size = session.execute(used).one()
    statement = update(Collection).where(Collection.id == collection_id, PRESENT)
    session.execute(statement.values(changes | {"used_images": images, "used_bytes": size}))


def _left(most: int | None, used: int) -> float:
    return inf if most is None else most - used
