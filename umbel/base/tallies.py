"""Counts that the database keeps: to read one costs the same however much is counted.

Each statement that changes what is counted adds rows to `tally` (migrations/versions/0007_tallies.py); the sum over the
rows of a place is its count. Transactions that count never wait for each other.
"""

from collections.abc import Collection as Names
from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.locks import take_turns


class Counted(StrEnum):
    """What is counted, and in which places."""

    IMAGES = "images"  # by collection id
    JOBS = "jobs"  # by status
    PENDING = "pending"  # items that are not paused, by queue
    PAUSED = "paused"  # items, by queue
    EMBEDDED = "embedded"  # images that have a vector, by model version id and collection id
    COMPARED = "compared"  # images whose nearest neighbors are known, likewise


# The count of one place, as SQL over expressions.
COUNT_SQL = "coalesce((SELECT sum(change) FROM tally WHERE counted = '{counted}' AND place = {place}), 0)::bigint"


def count(session: Session, counted: Counted, places: Names[str]) -> int:
    """How many there are in `places` together."""
    statement = text(
        "SELECT coalesce(sum(change), 0)::bigint FROM tally WHERE counted = :counted AND place = ANY (:at)"
    )
    return int(session.execute(statement, {"counted": counted, "at": list(places)}).scalar_one())


def lock_sums(session: Session) -> None:
    """For who reads sums and writes what follows from them; writers of single changes do not wait for it."""
    take_turns(session, "umbel tallies")


def add_up(session: Session) -> None:
    """Put one row in the place of all those of a place; none where they come to nothing."""
    lock_sums(session)
    session.execute(
        text("""
            WITH several AS MATERIALIZED (
                SELECT counted, place FROM tally GROUP BY counted, place HAVING count(*) > 1
            ), gone AS (
                DELETE FROM tally USING several
                WHERE tally.counted = several.counted AND tally.place = several.place RETURNING tally.*
            )
            INSERT INTO tally SELECT counted, place, sum(change) FROM gone GROUP BY counted, place
            HAVING sum(change) <> 0
        """)
    )


def forget_version(session: Session, version_id: object) -> None:
    """The vectors of a model version go with their partition, which no statement counts."""
    lock_sums(session)
    session.execute(
        text("DELETE FROM tally WHERE counted = 'embedded' AND place LIKE :place"), {"place": f"{version_id} %"}
    )
