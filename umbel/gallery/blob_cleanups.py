"""Notes of blobs in doubt: made before bytes are written, gone with the transaction that makes them somebody's."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, text, update
from sqlalchemy.orm import Session

from umbel.base.errors import TransientError
from umbel.base.tables import PendingBlobCleanup


@dataclass(frozen=True, slots=True)
class Note:
    """One note; several may speak of one blob."""

    id: UUID
    blob_key: str


def insert_cleanups(session: Session, keys: Sequence[str], *, patience_seconds: float = 0) -> list[UUID]:
    """Note that bytes may be written, or are to go, under `keys`; committed before the first byte is.

    patience_seconds: how much longer than usual the writing may take.
    """
    return list(session.execute(NOTES, {"keys": list(keys), "patience": patience_seconds}).scalars()) if keys else []


# As text, these: to put them together anew for each upload or chunk would take longer than to send them.
NOTES = text("""
    INSERT INTO pending_blob_cleanup (blob_key, since)
    SELECT key, now() + make_interval(secs => :patience) FROM unnest(CAST(:keys AS text[])) key RETURNING id
""")
NOTES_OF_NEW = text("""
    INSERT INTO pending_blob_cleanup (blob_key)
    SELECT key FROM unnest(CAST(:keys AS text[]), CAST(:collections AS text[]), CAST(:hashes AS bytea[]))
                    AS given(key, collection, sha256)
    WHERE NOT EXISTS (
        SELECT FROM image JOIN collection ON collection.id = image.collection_id
        WHERE collection.name = given.collection AND collection.deleted_at IS NULL AND image.sha256 = given.sha256
    )
    RETURNING blob_key, id
""")
TAKEN = text("DELETE FROM pending_blob_cleanup WHERE id = ANY (:ids) RETURNING id")


def insert_cleanups_of_new(session: Session, images: Sequence[tuple[str, str, bytes]]) -> dict[str, UUID]:
    """Note that bytes may be written, unless the collection of that name has an image of them already.

    pictures: (key, collection, SHA-256). Returns {key: note}.
    """
    keys, collections, hashes = map(list, zip(*images, strict=True))
    rows = session.execute(NOTES_OF_NEW, {"keys": keys, "collections": collections, "hashes": hashes})
    return {row.blob_key: row.id for row in rows}


def take_cleanups(session: Session, notes: Sequence[UUID]) -> None:
    """Settle the doubt with this transaction. Raises TransientError if the sweep has settled it otherwise meanwhile."""
    if notes and len(session.execute(TAKEN, {"ids": list(notes)}).all()) != len(notes):
        raise TransientError("Storing took so long that it was given up; send it again.")


def hasten_cleanups(session: Session, notes: Sequence[UUID]) -> None:
    """What `notes` speak of came to nothing: the next sweep may look."""
    session.execute(
        update(PendingBlobCleanup).where(PendingBlobCleanup.id.in_(notes)).values(since=text("'-infinity'"))
    )


def postpone_cleanup(session: Session, note: UUID) -> None:
    """What `note` speaks of cannot be deleted now: others go first."""
    session.execute(update(PendingBlobCleanup).where(PendingBlobCleanup.id == note).values(since=func.now()))


def claim_cleanups(session: Session, notes: Sequence[UUID]) -> list[Note]:
    """Lock those of `notes` that nobody else has locked or taken."""
    return _claimed(session, PendingBlobCleanup.id.in_(notes))


def claim_old_cleanups(session: Session, *, seconds: float, limit: int) -> list[Note]:
    """Lock up to `limit` notes that nobody took for `seconds`."""
    old = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return _claimed(session, PendingBlobCleanup.since < old, limit=limit)


def _claimed(session: Session, condition: ColumnElement[bool], limit: int | None = None) -> list[Note]:
    statement = (
        select(PendingBlobCleanup.id, PendingBlobCleanup.blob_key)
        .where(condition)
        .order_by(PendingBlobCleanup.id)
        .limit(limit)
    )
    return [Note(*row) for row in session.execute(statement.with_for_update(skip_locked=True))]
