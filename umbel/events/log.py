"""The log of events. What happens is written in its own transaction, mostly by triggers; publishing gives it a place.

Positions are given by one publisher at a time, without a gap, to events that are committed already. So a reader that
has seen position n has seen all up to n, whichever transaction committed first (docs/adr/0021). Events of one job are
published in the order in which they happened: each locks the job's row, so the next is written after its commit.
"""

from collections.abc import Collection as Names
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from umbel.base.database import Transaction
from umbel.base.notify import CHANNEL, EVENTS
from umbel.base.tables import EventRow
from umbel.base.types import EventType

AT_ONCE = 500  # events published, or removed, in one transaction
MATCHES = "({types} IS NULL OR {type} = ANY ({types}) OR split_part({type}, '.', 1) || '.*' = ANY ({types}))"


def group_of(kind: str) -> str:
    """`job.*` of `job.finished`."""
    return f"{kind.partition('.')[0]}.*"


GROUPS = tuple(dict.fromkeys(map(group_of, EventType)))


def is_of(kind: str, types: Names[str]) -> bool:
    """Whether a type is one of these, or of a group that is; as MATCHES says it in SQL."""
    return kind in types or group_of(kind) in types


@dataclass(frozen=True, slots=True)
class Event:
    """A published event. collection: its name then, None: it concerns no single one."""

    position: int
    id: UUID
    type: str
    collection: str | None
    job_id: UUID | None
    data: dict[str, Any]
    created_at: datetime

    @property
    def body(self) -> dict[str, Any]:
        """What is sent of it, as plain JSON."""
        at = self.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return {
            "id": str(self.id),
            "type": self.type,
            "timestamp": at,
            "collection": self.collection,
            "data": self.data,
        }


COLUMNS = (
    EventRow.position,
    EventRow.id,
    EventRow.type,
    EventRow.collection,
    EventRow.job_id,
    EventRow.data,
    EventRow.created_at,
)


@dataclass(frozen=True, slots=True)
class Interest:
    """Which events are asked for; None: all. types: such as `job.finished` or `job.*`; collections: names."""

    types: frozenset[str] | None = None
    collections: frozenset[str] | None = None
    job_id: UUID | None = None

    def includes(self, event: Event) -> bool:
        return (
            (self.types is None or is_of(event.type, self.types))
            and (self.collections is None or event.collection in self.collections)
            and (self.job_id is None or event.job_id == self.job_id)
        )


ALL = Interest()


def insert_event(session: Session, kind: EventType, data: dict[str, Any], *, collection: str | None = None) -> None:
    """Write an event that happens with this transaction; jobs and images have triggers that do so."""
    session.execute(insert(EventRow).values(type=kind, data=data, collection=collection))
    session.execute(text(f"SELECT pg_notify('{CHANNEL}', '{EVENTS}')"))


def publish_events(session: Session) -> int:
    """Give up to AT_ONCE committed events their positions, and open their deliveries. Returns how many.

    Others that publish wait for this transaction's end.
    """
    if not session.scalar(text("SELECT EXISTS (SELECT FROM event WHERE position IS NULL)")):
        return 0
    last = session.scalar(text("SELECT published FROM event_log FOR UPDATE"))
    published: int = session.scalar(PUBLISH, {"last": last, "limit": AT_ONCE}) or 0
    if published:
        session.execute(text("UPDATE event_log SET published = published + :count"), {"count": published})
    return published


# A statement of its own after the lock: it sees what the publisher before has committed.
PUBLISH = text(f"""
    WITH oldest AS (
        SELECT seq FROM event WHERE position IS NULL ORDER BY seq LIMIT :limit
    ), numbered AS (
        SELECT seq, CAST(:last AS bigint) + row_number() OVER (ORDER BY seq) AS position FROM oldest
    ), published AS (
        UPDATE event SET position = numbered.position FROM numbered WHERE event.seq = numbered.seq
        RETURNING event.position, event.type, event.collection
    ), deliveries AS (
        INSERT INTO webhook_delivery (webhook_id, position)
        SELECT w.id, p.position FROM published p JOIN webhook w ON w.disabled_at IS NULL
             AND {MATCHES.format(types="w.types", type="p.type")}
             AND (w.collection IS NULL OR w.collection = p.collection)
    )
    SELECT count(*) FROM published
""")


def bounds(session: Session) -> tuple[int, int]:
    """The last position that was published, and the last that was removed."""
    published, pruned = session.execute(text("SELECT published, pruned FROM event_log")).one()
    return published, pruned


def read_events(
    session: Session, interest: Interest, *, after: int, until: int | None = None, limit: int
) -> list[Event]:
    """Up to `limit` published events after a position, the oldest first. until: a position; None: all there are."""
    statement = select(*COLUMNS).where(EventRow.position > after).order_by(EventRow.position).limit(limit)
    if until is not None:
        statement = statement.where(EventRow.position <= until)
    if interest.types is not None:
        statement = statement.where(EventRow.type.in_([kind for kind in EventType if is_of(kind, interest.types)]))
    if interest.collections is not None:
        statement = statement.where(EventRow.collection.in_(interest.collections))
    if interest.job_id is not None:
        statement = statement.where(EventRow.job_id == interest.job_id)
    return [Event(*row) for row in session.execute(statement)]


# The oldest, up to the first that is not old enough or still to be delivered: so one position tells what is gone.
PRUNE = text("""
    WITH old AS (
        SELECT position, seq, created_at < now() - make_interval(days => :days) AND NOT EXISTS (
            SELECT FROM webhook_delivery d WHERE d.position = event.position AND d.state = 'pending') AS due
        FROM event WHERE position IS NOT NULL ORDER BY position LIMIT :limit
    ), gone AS (
        DELETE FROM event USING old
        WHERE event.seq = old.seq AND old.position < ALL (SELECT position FROM old WHERE NOT due)
        RETURNING event.position
    )
    UPDATE event_log SET pruned = greatest(pruned, (SELECT max(position) FROM gone))
    WHERE EXISTS (SELECT FROM gone) RETURNING (SELECT count(*) FROM gone)
""")
TURNS = 10  # transactions of one cleanup; the next comes with the next sweep


def delete_old_events(transaction: Transaction, days: int) -> bool:
    """Delete events older than `days`, with their deliveries, in batches. Returns whether none is left.

    Raises NotReady, TransientError.
    """
    for _ in range(TURNS):
        with transaction() as session:
            if (session.scalar(PRUNE, {"days": days, "limit": AT_ONCE}) or 0) < AT_ONCE:
                return True
    return False
