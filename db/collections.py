"""Collections: found or made by name."""

from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import NotFound
from db.models import Collection, Image


def find_collection(session: Session, name: str) -> UUID | None:
    return session.scalar(select(Collection.id).where(Collection.name == name))


def get_collection(session: Session, name: str) -> UUID:
    """Id of the collection called `name`. Raises NotFound."""
    found = find_collection(session, name)
    if found is None:
        raise NotFound(f"There is no collection called {name!r}.")
    return found


def upsert_collection(session: Session, name: str) -> UUID:
    """Id of the collection called `name`, made if it is new."""
    found = find_collection(session, name)
    if found is not None:
        return found
    # DO UPDATE rather than DO NOTHING, so that a collection made meanwhile by another returns its id too.
    statement = insert(Collection).values(name=name)
    statement = statement.on_conflict_do_update(index_elements=["name"], set_={"name": name})
    return session.execute(statement.returning(Collection.id)).scalar_one()


def list_collections(session: Session) -> list[Row]:
    """Each collection's name, created_at and number of images, by name."""
    images = select(Image.collection_id, func.count().label("images")).group_by(Image.collection_id).subquery()
    return list(
        session.execute(
            select(Collection.name, Collection.created_at, func.coalesce(images.c.images, 0).label("images"))
            .outerjoin(images, images.c.collection_id == Collection.id)
            .order_by(Collection.name)
        )
    )
