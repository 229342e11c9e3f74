"""Workers: who is alive, by the database's clock."""

from sqlalchemy import Row, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import Worker


def upsert_worker(session: Session, name: str, *, lanes: str, device: str) -> None:
    """Write down that `name` has just started."""
    now = text("now()")
    statement = insert(Worker).values(name=name, lanes=lanes, device=device)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"lanes": lanes, "device": device, "started_at": now, "seen_at": now}
        )
    )


def touch_worker(session: Session, name: str) -> None:
    session.execute(text("UPDATE worker SET seen_at = now() WHERE name = :name"), {"name": name})


def delete_worker(session: Session, name: str) -> None:
    session.execute(text("DELETE FROM worker WHERE name = :name"), {"name": name})


def list_workers(session: Session, *, seen_within_seconds: float) -> list[Row]:
    """The workers heard of lately, with the age of that word in seconds."""
    age = func.extract("epoch", func.now() - Worker.seen_at).label("age_seconds")
    return list(
        session.execute(
            select(Worker.name, Worker.lanes, Worker.device, Worker.started_at, age)
            .where(age < seen_within_seconds)
            .order_by(Worker.name)
        )
    )
