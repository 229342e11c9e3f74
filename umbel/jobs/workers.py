"""Workers: who is alive, by the database's clock."""

from sqlalchemy import Row, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from umbel.base.tables import Worker


def upsert_worker(session: Session, name: str, *, queues: str, device: str) -> None:
    """Write down that `name` has just started."""
    now = text("now()")
    statement = insert(Worker).values(name=name, queues=queues, device=device)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_={"queues": queues, "device": device, "started_at": now, "seen_at": now, "progress_at": now},
        )
    )


def touch_worker(session: Session, name: str, *, progressed: bool, broker_connected: bool) -> bool:
    """A heartbeat. progressed: something got on since the last one; that nothing is left to do is as good.

    Returns whether the worker is still written down; after a long silence it may have been forgotten.
    """
    touched = session.execute(
        text(f"""
            UPDATE worker SET seen_at = now(), broker_connected = :hears,
                   progress_at = CASE WHEN :progressed OR NOT {WORK_IS_LEFT} THEN now() ELSE progress_at END
            WHERE name = :name
        """),
        {"name": name, "progressed": progressed, "hears": broker_connected},
    )
    return touched.rowcount > 0  # type: ignore[attr-defined]


# Not what is paused, for its job is paused; nor what waits, itself or with its source, for its next try; nor
# comparisons, which may have to wait until an index is built.
WORK_IS_LEFT = """EXISTS (
    SELECT FROM job_item WHERE state = 'pending' AND NOT paused AND queue <> 'compare'
    AND NOT (retries > 0 AND lease_owner IS NULL AND lease_until > now())
    AND NOT (queue = 'fetch' AND EXISTS (
        SELECT FROM import_source s WHERE s.job_id = job_item.job_id AND s.next_try > now()))
)"""


def work_is_left(session: Session) -> bool:
    """Whether a worker has anything to do now: items that are neither ended nor paused."""
    return bool(session.scalar(text(f"SELECT {WORK_IS_LEFT}")))


def delete_worker(session: Session, name: str) -> None:
    """Forget a worker that has ended."""
    session.execute(text("DELETE FROM worker WHERE name = :name"), {"name": name})


def delete_silent_workers(session: Session, seconds: float) -> None:
    """Forget those that have not reported for `seconds`: killed, and started again under another name or nowhere."""
    session.execute(
        text("DELETE FROM worker WHERE seen_at < now() - make_interval(secs => :seconds)"), {"seconds": seconds}
    )


def list_workers(session: Session, *, seen_within_seconds: float) -> list[Row]:
    """The workers heard of lately, with the seconds since that word, and since they got anything done."""
    age = func.extract("epoch", func.now() - Worker.seen_at).label("age_seconds")
    idle = func.extract("epoch", func.now() - Worker.progress_at).label("idle_seconds")
    return list(
        session.execute(
            select(Worker.name, Worker.queues, Worker.device, Worker.started_at, Worker.broker_connected, age, idle)
            .where(age < seen_within_seconds)
            .order_by(Worker.name)
        )
    )
