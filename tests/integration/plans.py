"""What statements cost in rows, by their plans: times depend on the machine, and on what else it does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.orm import Session

from umbel.base.database import engine
from umbel.base.tables import Table

NOT_READ = ("CTE Scan", "Function Scan", "Subquery Scan", "Values Scan", "WorkTable Scan")  # made by the plan itself

Cost = Callable[[Callable[[], Any]], tuple[Any, int]]


def empty_tables(session: Session) -> None:
    """Until the session is rolled back: as new, also in the statistics, which autovacuum has of rows that are gone."""
    tables = list(Table.metadata.tables)
    session.execute(text(f"TRUNCATE {', '.join(tables)}"))
    session.execute(
        text("""
            SELECT pg_clear_relation_stats(schemaname, tablename) FROM pg_tables WHERE tablename = ANY (:tables)
            UNION ALL
            SELECT pg_clear_attribute_stats(schemaname, tablename, attname, inherited)
            FROM pg_stats WHERE tablename = ANY (:tables)
        """),
        {"tables": tables},
    )


@contextmanager
def counted_rows(session: Session) -> Iterator[Cost]:
    """A function that gives what a call returns, and how many rows its statements read. The call only reads."""
    asked: list[tuple[str, Any]] = []
    note = lambda *told: asked.append(told[2:4])  # noqa: E731
    event.listen(engine(), "before_cursor_execute", note)

    def count(call: Callable[[], Any]) -> tuple[Any, int]:
        session.flush()
        asked.clear()
        found, read = call(), 0
        for statement, values in list(asked):
            plan = session.connection().exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values).scalar()
            read += rows_read(plan[0]["Plan"])
        return found, read

    try:
        yield count
    finally:
        event.remove(engine(), "before_cursor_execute", note)


def rows_read(plan: dict[str, Any]) -> int:
    """By all scans of a plan, those too that a filter threw away or that a sort was given."""
    own = 0
    if "Scan" in plan["Node Type"] and plan["Node Type"] not in NOT_READ:
        removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        own = round((plan["Actual Rows"] + removed) * plan["Actual Loops"])
    return own + sum(map(rows_read, plan.get("Plans", ())))
