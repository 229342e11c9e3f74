"""Collections: found or made by name, hidden as soon as they are deleted (the rest: umbel/gallery/deletion.py)."""

from collections.abc import Collection as Names
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnClause, Select, literal_column, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from umbel.base.errors import NotFound
from umbel.base.tables import Collection
from umbel.base.tallies import COUNT_SQL, Counted

PRESENT = Collection.deleted_at.is_(None)
# For queries that look into all collections at once. Not `<> ALL (ARRAY(…))`: where all images are in one collection,
# the planner takes it that none passes, and sorts a million of them for a page of a hundred.
NOT_DELETED = "NOT IN (SELECT id FROM collection WHERE deleted_at IS NOT NULL)"


def scope_sql(collection_id: UUID | None) -> str:
    """What to compare a row's collection with: with :collection, or (None) with all that are not deleted."""
    return "= :collection" if collection_id else NOT_DELETED


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection as people see it. images: how many it has; max_…: its quota, None: no limit.

    tiles: how many of each image are searched beside the whole, see umbel/gallery/tiles.py.
    """

    name: str
    created_at: datetime
    images: int
    max_images: int | None
    max_bytes: int | None
    tiles: int


def find_collection(session: Session, name: str) -> UUID | None:
    """Id of the collection called `name`, if there is one."""
    return session.scalar(select(Collection.id).where(Collection.name == name, PRESENT))


def list_ids(session: Session, collection_id: UUID | None) -> list[UUID]:
    """The collection, or (None) all that are not deleted."""
    return [collection_id] if collection_id else list(session.scalars(select(Collection.id).where(PRESENT)))


def get_collection(session: Session, name: str) -> UUID:
    """Id of the collection called `name`. Raises NotFound."""
    found = find_collection(session, name)
    if found is None:
        raise NotFound(f"There is no collection called {name!r}.")
    return found


def id_of(session: Session, name: str | None) -> UUID | None:
    """Id of the collection that a request is about; None: of all. Raises NotFound."""
    return None if name is None else get_collection(session, name)


# Find a collection, and keep its row until the transaction ends.
@dataclass(frozen=True, slots=True)
class Place:
    """A collection that images are stored in. limited: it has a quota."""

    id: UUID
    limited: bool


# Find collections, whether they have a quota, and keep their rows until the transaction ends.
PLACES = text("""
    SELECT name, id, max_images IS NOT NULL OR max_bytes IS NOT NULL FROM collection
    WHERE name = ANY (:names) AND deleted_at IS NULL ORDER BY id FOR KEY SHARE
""")


def lock_collections(session: Session, names: Names[str]) -> dict[str, Place]:
    """Those that exist; until this transaction ends, none of them is removed or gets another quota."""
    return {name: Place(*place) for name, *place in session.execute(PLACES, {"names": list(names)})}


def upsert_collection(session: Session, name: str) -> UUID:
    """Id of the collection called `name`, made if it is new; its row stays until this transaction ends."""
    if place := lock_collections(session, [name]).get(name):
        return place.id
    # DO UPDATE rather than DO NOTHING, so that a collection made meanwhile by another returns its id too.
    statement = insert(Collection).values(name=name)
    statement = statement.on_conflict_do_update(index_elements=["name"], index_where=PRESENT, set_={"name": name})
    return session.execute(statement.returning(Collection.id)).scalar_one()


def insert_collection(session: Session, name: str, *, tiles: int = 0) -> bool:
    """Make a collection. False if there is one of that name, which stays as it is."""
    statement = insert(Collection).values(name=name, tiles=tiles)
    statement = statement.on_conflict_do_nothing(index_elements=["name"], index_where=PRESENT)
    return session.scalar(statement.returning(Collection.id)) is not None


def describe_collection(session: Session, name: str) -> CollectionRow:
    """The collection called `name`, with its number of images. Raises NotFound."""
    row = session.execute(_collections().where(Collection.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"There is no collection called {name!r}.")
    return CollectionRow(*row)


def list_collections(
    session: Session, *, after: str | None, limit: int, within: Names[str] | None = None
) -> list[CollectionRow]:
    """Up to `limit` collections by name, after the one called `after`. within: of these names only; None: all."""
    statement = _collections().order_by(Collection.name).limit(limit)
    if after is not None:
        statement = statement.where(Collection.name > after)
    if within is not None:
        statement = statement.where(Collection.name.in_(within))
    return [CollectionRow(*row) for row in session.execute(statement)]


def _collections() -> Select[Any]:
    """All collections with their numbers of images and their quotas."""
    images: ColumnClause[Any] = literal_column(COUNT_SQL.format(counted=Counted.IMAGES, place="collection.id::text"))
    columns: tuple[Any, ...] = (
        Collection.name,
        Collection.created_at,
        images,
        Collection.max_images,
        Collection.max_bytes,
        Collection.tiles,
    )
    return select(*columns).where(PRESENT)
