"""Images that stay in place, found by where they are: known files, files that have moved, files that have changed."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.in_place import IN_PLACE, Location, find_location, stays_in_place
from umbel.base.types import LATER_QUEUES

# By the index image_by_place.
AT_LOCATION = f"""
    starts_with(image.blob_key, '{IN_PLACE}') AND image.collection_id = :collection
    AND hashtextextended(split_part(image.blob_key, '#', 3), 0) = hashtextextended(given.url, 0)
    AND split_part(image.blob_key, '#', 3) = given.url
"""
# Find what is at these locations, but for images whose last embedding came to nothing.
KNOWN = text(f"""
    SELECT image.id, image.blob_key FROM unnest(CAST(:urls AS text[])) AS given(url) JOIN image ON {AT_LOCATION}
    LEFT JOIN LATERAL (
        SELECT state FROM job_item
        WHERE image_id = image.id AND state <> 'duplicate' AND queue <> ALL (:later) ORDER BY id DESC LIMIT 1
    ) newest ON true
    WHERE newest.state IS NULL OR newest.state NOT IN ('failed', 'cancelled')
""")
# Find the images that these locations had before they got the images that they have now.
FORMER = text(f"""
    SELECT image.id FROM unnest(CAST(:urls AS text[]), CAST(:images AS uuid[])) AS given(url, image_id)
    JOIN image ON {AT_LOCATION} AND image.id <> given.image_id
""")
KEYS = text("SELECT id, blob_key FROM image WHERE id = ANY (:images) ORDER BY id FOR NO KEY UPDATE")
MOVE = text("""
    UPDATE image SET blob_key = given.blob_key
    FROM unnest(CAST(:images AS uuid[]), CAST(:keys AS text[])) AS given(id, blob_key) WHERE image.id = given.id
""")


def find_known(session: Session, collection_id: UUID, locations: Sequence[Location]) -> dict[Location, UUID]:
    """Those of `locations` that an image of the collection was read from, in the same version."""
    urls = [location.url for location in locations]
    rows = session.execute(KNOWN, {"urls": urls, "collection": collection_id, "later": list(LATER_QUEUES)})
    return {location: row.id for row in rows if (location := find_location(row.blob_key))}


def follow_moved(session: Session, blobs: Blobs, keys: Mapping[UUID, str]) -> None:
    """Images that are there already, and were read under other keys now, stay where these say.

    Unless they can still be read where they were: then the files are copies of each other. Raises TransientError.
    """
    rows = session.execute(KEYS, {"images": list(keys)})
    moved = {
        row.id: keys[row.id]
        for row in rows
        if stays_in_place(row.blob_key) and row.blob_key != keys[row.id] and not blobs.exists(row.blob_key)
    }
    if moved:
        session.execute(MOVE, {"images": list(moved), "keys": list(moved.values())})


def list_former(session: Session, collection_id: UUID, images: Mapping[str, UUID]) -> list[UUID]:
    """The other images of the collection that were read from these locations. images: by the URL of its location."""
    values = {"urls": list(images), "images": list(images.values()), "collection": collection_id}
    return list(session.scalars(FORMER, values))
