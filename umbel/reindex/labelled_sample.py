"""The labelled images that two model versions are judged on: whole classes, always the same of a gallery."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.gallery.collections import NOT_DELETED

MOST = 5_000  # images
MOST_OF_CLASS = 500  # images of one class, where not all fit: ten classes at least

# Classes in an order of their own, whole or up to so many images of each, as long as they fit; all where all do.
SAMPLE = """
    WITH labelled AS (
        SELECT i.id, i.collection_id, i.label, count(*) OVER () AS images,
               row_number() OVER (PARTITION BY i.collection_id, i.label ORDER BY hashtextextended(i.id::text, 0)) AS nth
        FROM image i
        JOIN embedding l ON l.image_id = i.id AND l.model_version_id = '{active}'
        JOIN embedding c ON c.image_id = i.id AND c.model_version_id = '{candidate}'
        WHERE i.label IS NOT NULL AND i.collection_id {not_deleted}
          AND NOT EXISTS (SELECT FROM unnest(CAST(:without AS bytea[])) AS known(sha256)
                          WHERE known.sha256 = i.sha256)
    ), bounded AS (
        SELECT * FROM labelled WHERE images <= :most OR nth <= :most_of_class
    ), class AS (
        SELECT collection_id, label, count(*) OVER () AS classes,
               sum(count(*)) OVER (ORDER BY hashtextextended(collection_id || label, 0), collection_id, label) AS so_far
        FROM bounded GROUP BY collection_id, label
    )
    SELECT id, collection_id, label, classes FROM bounded JOIN class USING (collection_id, label)
    WHERE so_far <= :most ORDER BY so_far, nth
"""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled image. group: its class, a label within its collection."""

    image_id: UUID
    group: tuple[UUID, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """images: of whole classes, bounded where the gallery has more than MOST. classes: how many the gallery has."""

    images: list[Labelled]
    classes: int


def sample_labelled(
    session: Session,
    *,
    active: UUID,
    candidate: UUID,
    without: Sequence[bytes],
    most: int = MOST,
    most_of_class: int = MOST_OF_CLASS,
) -> Sample:
    """Up to `most` labelled images that both versions have a vector of.

    Classes are drawn, not images: of a few images drawn from each of many classes hardly any would keep a second image
    of its class, and the task would be another than the gallery's. without: SHA-256 of images that are not to be judged
    on, since a version has learnt from them.
    """
    rows = session.execute(
        text(SAMPLE.format(active=active, candidate=candidate, not_deleted=NOT_DELETED)),
        {"without": list(without), "most": most, "most_of_class": most_of_class},
    ).all()
    return Sample([Labelled(row.id, (row.collection_id, row.label)) for row in rows], rows[0].classes if rows else 0)


def count_labelled(session: Session, sha256: Sequence[bytes]) -> int:
    """How many labelled images are these pictures."""
    statement = text("SELECT count(*) FROM image WHERE label IS NOT NULL AND sha256 = ANY(CAST(:known AS bytea[]))")
    return session.execute(statement, {"known": list(sha256)}).scalar_one()
