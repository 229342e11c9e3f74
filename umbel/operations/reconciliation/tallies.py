"""Kept counts (umbel/base/tallies.py) checked against the rows that they count."""

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.tallies import lock_sums
from umbel.operations.reconciliation.context import Context, Mismatches

# How many rows there are of what is counted, by place.
ROWS = """
SELECT 'images' AS counted, collection_id::text AS place, count(*) AS rows FROM image GROUP BY 2
UNION ALL SELECT 'jobs', status, count(*) FROM job GROUP BY 2
UNION ALL SELECT CASE WHEN paused THEN 'paused' ELSE 'pending' END, queue, count(*) FROM job_item
    WHERE state = 'pending' GROUP BY 1, 2
UNION ALL SELECT 'embedded', model_version_id || ' ' || collection_id, count(*) FROM embedding GROUP BY 2
UNION ALL SELECT 'compared', model_version_id || ' ' || collection_id, count(*) FROM nearest_neighbors GROUP BY 2
"""
# A change and its row are committed together: in one snapshot they agree. The vectors of a retired version stay counted
# until its partition is dropped, which may have been detached long before.
WRONG = f"""
SELECT counted, place, coalesce(kept, 0) AS kept, coalesce(rows, 0) AS rows
FROM ({ROWS}) there
FULL JOIN (SELECT counted, place, sum(change)::bigint AS kept FROM tally GROUP BY 1, 2) sums USING (counted, place)
WHERE coalesce(kept, 0) <> coalesce(rows, 0) AND NOT (counted = 'embedded' AND EXISTS (
    SELECT FROM model_version v JOIN pg_class ON relname = 'embedding_' || replace(v.id::text, '-', '')
    WHERE v.state = 'retired' AND v.id::text = split_part(place, ' ', 1)))
"""


class WrongTally(NamedTuple):
    """kept: the count that is kept of a place; rows: how many rows there are."""

    counted: str
    place: str
    kept: int
    rows: int

    def __str__(self) -> str:
        return f"{self.counted} {self.place}: {self.kept} kept, {self.rows} there"


def check_tallies(context: Context) -> list[Mismatches]:
    """Kept counts that are not those of the rows."""
    wrong = Mismatches("wrong_tally", "kept counts that differ from the rows they count", "Corrected.")
    with context.watch("Counting rows", None), context.transaction() as session:
        found = correct_tallies(session) if context.repair else list_wrong_tallies(session)
    wrong.add(found, repaired=context.repair)
    return [wrong]


def list_wrong_tallies(session: Session) -> list[WrongTally]:
    """The places whose kept count is not that of the rows."""
    return [WrongTally(*row) for row in session.execute(text(f"{WRONG} ORDER BY 1, 2"))]


def correct_tallies(session: Session) -> list[WrongTally]:
    """Add what is missing to the counts that `list_wrong_tallies` lists; these, as they were.

    Writers need not wait: what they change meanwhile changes rows and counts alike, and so leaves the difference as is.
    """
    lock_sums(session)  # or another repair would add the same difference
    corrected = session.execute(
        text(f"""
            WITH wrong AS MATERIALIZED ({WRONG}), corrected AS (
                INSERT INTO tally SELECT counted, place, rows - kept FROM wrong
            )
            SELECT * FROM wrong ORDER BY 1, 2
        """)
    )
    return [WrongTally(*row) for row in corrected]
