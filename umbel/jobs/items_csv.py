"""A job's items as CSV, for people who work through failures in a spreadsheet."""

import csv
import io
from collections.abc import Iterator
from uuid import UUID

from umbel.base.database import Transaction
from umbel.base.tables import JobItem
from umbel.jobs import item_rows, job_rows

COLUMNS = ("name", "status", "code", "reason", "attempts", "image_id", "finished_at")
PAGE = 1_000
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would compute


def items_as_csv(transaction: Transaction, job_id: UUID, state: str | None) -> Iterator[str]:
    """Lines of CSV with a header, a page of the ledger at a time; state: only the items in it. Raises NotFound."""
    with transaction() as session:
        job_rows.get_job(session, job_id)
    return _pages(transaction, job_id, state)


def _pages(transaction: Transaction, job_id: UUID, state: str | None) -> Iterator[str]:
    yield _lines([COLUMNS])
    after: UUID | None = None
    while True:
        with transaction() as session:
            page = item_rows.list_items(session, job_id, state=state, after=after, limit=PAGE)
        if not page:
            return
        after = page[-1].id
        yield _lines([_row(item) for item in page])


def _row(item: JobItem) -> tuple[object, ...]:
    name = item.name or ""
    # Source: OWASP, "CSV Injection": names are whatever a stranger's file was called.
    safe = f"'{name}" if name.startswith(FORMULA) else name
    finished = item.finished_at and item.finished_at.isoformat()
    return (safe, item.state, item.error_code, item.error_detail, item.attempts, item.image_id, finished)


def _lines(rows: list[tuple[object, ...]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()
