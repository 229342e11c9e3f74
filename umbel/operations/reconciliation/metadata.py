"""Metadata that no request could have written today: by SQL, or by a version of Umbel without limits on JSON."""

from uuid import UUID

from sqlalchemy import text, update
from sqlalchemy.orm import Session

from umbel.base.storable import DEEPEST, parse_stored
from umbel.base.tables import Image
from umbel.operations.reconciliation.context import Context, Mismatches, Page

TOO_DEEP = f'strict $.**{{{DEEPEST}}} ? (@.type() == "object" || @.type() == "array")'
TOO_LONG = 'strict $.**{0 to last} ? (@.type() == "number" && (@ >= 1e4299 || @ <= -1e4299))'


def check_metadata(context: Context) -> list[Mismatches]:
    """Images whose metadata is served otherwise than it is stored."""
    found = Mismatches(
        "unservable_metadata",
        f"images whose metadata is nested more than {DEEPEST} levels deep or has numbers of 4,300 digits",
        "Those values are kept as the text of their JSON, as they are served.",
    )
    for page in context.pages("image", "Reading metadata"):
        with context.transaction() as session:
            metadata = list_unservable_metadata(session, page, lock=context.repair)
            for image_id, stored in metadata.items() if context.repair else ():
                session.execute(update(Image).where(Image.id == image_id).values(meta=parse_stored(stored)))
        found.add(metadata, repaired=context.repair)
    return [found]


def list_unservable_metadata(session: Session, page: Page, *, lock: bool) -> dict[UUID, str]:
    """{image: its metadata, JSON} of a page's images, for metadata that is not served as it is."""
    statement = """
        SELECT id, metadata::text AS metadata FROM image WHERE id > :after AND id <= :last AND metadata <> '{}'
            AND (jsonb_path_exists(metadata, :deep) OR jsonb_path_exists(metadata, :long))
    """
    values = {**page.bounds, "deep": TOO_DEEP, "long": TOO_LONG}
    rows = session.execute(text(statement + ("FOR UPDATE" if lock else "")), values)
    return {row.id: row.metadata for row in rows}
