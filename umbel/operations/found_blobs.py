"""What the blob store holds, listed into a temporary table, against what the ledger says that it should hold."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.copy import copy_rows
from umbel.base.database import autocommit
from umbel.operations.reconciliation_rows import Page


class FoundBlob(NamedTuple):
    """A blob that is there. at: its place in the listing; owner: the key that would be a row's, were it somebody's."""

    at: int
    key: str
    size: int
    owner: str


class SuspectImage(NamedTuple):
    """An image whose bytes were not listed, or with another size. size: of its row, in bytes."""

    id: UUID
    blob_key: str
    size: int


@contextmanager
def found_blobs() -> Iterator[Session]:
    """A session with the temporary table `found_blob`, empty. Raises as `transaction` does.

    Each statement is a transaction of its own: one that lasted as long as a listing would hold up vacuum, and the
    building of indexes.
    """
    with autocommit() as connection:
        try:
            with Session(connection) as session:
                session.execute(text("CREATE TEMPORARY TABLE found_blob (at int8, key text, size int8, owner text)"))
                yield session
        finally:
            connection.invalidate()  # closed rather than given back: the table goes with it


def tell_time(session: Session) -> datetime:
    """Now, by the clock that rows are dated with."""
    return session.execute(text("SELECT clock_timestamp()")).scalar_one()


def add_found(session: Session, blobs: Iterable[FoundBlob]) -> None:
    columns = {"at": "int8", "key": "text", "size": "int8", "owner": "text"}
    copy_rows(session, "found_blob", columns, blobs)


def index_found(session: Session) -> None:
    """All are added: make them quick to find."""
    for statement in ("CREATE INDEX ON found_blob (key)", "CREATE INDEX ON found_blob (at)", "ANALYZE found_blob"):
        session.execute(text(statement))


def list_suspect_images(session: Session, page: Page, *, before: datetime) -> list[SuspectImage]:
    """Images from before the listing whose bytes it did not find, or with another size."""
    rows = session.execute(
        text("""
            SELECT image.id, image.blob_key, image.size FROM image LEFT JOIN found_blob b ON b.key = image.blob_key
            WHERE image.id > :after AND image.id <= :last AND image.created_at < :before
              AND b.size IS DISTINCT FROM image.size
        """),
        {**page.bounds, "before": before},
    )
    return [SuspectImage(*row) for row in rows]


# A note goes with the same commit that makes the bytes somebody's or, if they were that before, comes with the one that
# makes them nobody's: seen in one snapshot, bytes have an owner or a note.
UNOWNED = """
NOT EXISTS (SELECT FROM image WHERE image.blob_key = owner)
AND NOT EXISTS (SELECT FROM pending_blob_cleanup n WHERE n.blob_key = owner)
AND NOT EXISTS (SELECT FROM import_source s WHERE s.spec ->> 'blob_key' = owner)
"""


def list_strays(session: Session, *, first: int, last: int) -> list[FoundBlob]:
    """Of the places first <= at < last, the blobs that were nobody's just now."""
    rows = session.execute(
        text(f"SELECT at, key, size, owner FROM found_blob WHERE at >= :first AND at < :last AND {UNOWNED}"),
        {"first": first, "last": last},
    )
    return [FoundBlob(*row) for row in rows]


def list_unowned(session: Session, owners: Sequence[str]) -> set[str]:
    """Those of `owners` that are nobody's key now, nor in doubt."""
    statement = text(f"SELECT owner FROM unnest(CAST(:owners AS text[])) AS candidates(owner) WHERE {UNOWNED}")
    return set(session.scalars(statement, {"owners": list(owners)}))
