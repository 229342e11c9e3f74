"""Groups of near-duplicates as they are kept: computed once after a comparison, then read a page at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.copy import copy_rows
from umbel.base.database import Transaction
from umbel.base.locks import take_turns
from umbel.base.union_find import connected_components
from umbel.insights import nearest_neighbors

COPY_DISTANCE = 0.5  # cosine distance beyond which no changed copy is expected; see docs/how-to/duplicates.md
# 0.8: as for groups before a split, see docs/explanation/leakage.md.
MIN_PIXEL_SIMILARITY = 0.8
KEPT = 4  # groupings of a collection by other limits than these; the oldest goes


@dataclass(frozen=True, slots=True)
class Limits:
    """Which pairs are linked: at most `max_distance` apart, with pixels that agree by `min_pixel_similarity`."""

    max_distance: float = COPY_DISTANCE
    min_pixel_similarity: float = MIN_PIXEL_SIMILARITY


USUAL = Limits()


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of a collection by some limits. computed: None before they are first computed."""

    id: UUID
    model_version_id: UUID
    collection_id: UUID
    max_distance: float
    min_pixel_similarity: float
    changes: int
    computed: int | None


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """id: its newest image when it was computed, by which groups are ordered. images: some may be gone since."""

    id: UUID
    images: list[UUID]


COLUMNS = "id, model_version_id, collection_id, max_distance, min_pixel_similarity, changes, computed"


def note_changes(session: Session, version_id: UUID, collection_ids: Iterable[UUID]) -> None:
    """Nearest neighbors of these collections were changed in this transaction."""
    values = {"version": version_id, "collections": sorted(set(collection_ids)), **_values(USUAL)}
    session.execute(
        text("""
            INSERT INTO duplicate_grouping (model_version_id, collection_id, max_distance, min_pixel_similarity)
            SELECT :version, id, :distance, :similarity FROM unnest(CAST(:collections AS uuid[])) id
            ON CONFLICT DO NOTHING
        """),
        values,
    )
    session.execute(
        text("""
            UPDATE duplicate_grouping SET changes = changes + 1
            WHERE model_version_id = :version AND collection_id = ANY (:collections)
        """),
        values,
    )


def compute_groups(transaction: Transaction) -> None:
    """Compute the groups by the usual limits of all collections whose comparison has come to its end."""
    with transaction() as session:
        rows = session.execute(
            text(f"""
                SELECT {COLUMNS} FROM duplicate_grouping
                WHERE changes IS DISTINCT FROM computed AND max_distance = :distance
                  AND min_pixel_similarity = :similarity
            """),
            _values(USUAL),
        )
        due = [each for each in map(_grouping, rows) if not _is_compared(session, each)]
    for grouping in due:
        with transaction() as session:
            _compute(session, grouping)


def current_groupings(session: Session, version_id: UUID, collection_ids: Sequence[UUID], limits: Limits) -> list[UUID]:
    """The groupings of these collections by `limits`, computed now where they are not known yet.

    While images are being compared, the groups stay those from before.
    """
    values = {"version": version_id, "collections": list(collection_ids), **_values(limits)}
    if limits != USUAL:
        session.execute(text(LIKE_THE_USUAL), {**values, "usual": USUAL.max_distance, "other": MIN_PIXEL_SIMILARITY})
    rows = session.execute(
        text(f"""
            SELECT {COLUMNS} FROM duplicate_grouping
            WHERE model_version_id = :version AND collection_id = ANY (:collections) AND max_distance = :distance
              AND min_pixel_similarity = :similarity
        """),
        values,
    )
    groupings = list(map(_grouping, rows))
    for each in groupings:
        if each.computed is None or (each.computed != each.changes and not _is_compared(session, each)):
            _compute(session, each)
    return [each.id for each in groupings]


# Where images were compared, there is a grouping by the usual limits: one by others beside it.
LIKE_THE_USUAL = """
INSERT INTO duplicate_grouping (model_version_id, collection_id, max_distance, min_pixel_similarity, changes)
SELECT model_version_id, collection_id, :distance, :similarity, changes FROM duplicate_grouping
WHERE model_version_id = :version AND collection_id = ANY (:collections) AND max_distance = :usual
  AND min_pixel_similarity = :other
ON CONFLICT DO NOTHING
"""


def list_groups(session: Session, groupings: Sequence[UUID], *, before: UUID | None, limit: int) -> list[StoredGroup]:
    """Up to `limit` groups, the one with the newest image first, whose newest image is older than `before`."""
    rows = session.execute(
        text("""
            SELECT page.id, page.images FROM unnest(CAST(:groupings AS uuid[])) grouping(id), LATERAL (
                SELECT g.id, g.images FROM duplicate_group g
                WHERE g.grouping_id = grouping.id AND g.id < :before ORDER BY g.id DESC LIMIT :limit
            ) page ORDER BY page.id DESC LIMIT :limit
        """),
        {"groupings": list(groupings), "before": before or UUID(int=2**128 - 1), "limit": limit},
    )
    return [StoredGroup(*row) for row in rows]


def list_groups_of(session: Session, groupings: Sequence[UUID], image_id: UUID) -> list[StoredGroup]:
    """The group that has the image, if any."""
    rows = session.execute(
        text("""
            SELECT id, images FROM duplicate_group
            WHERE images @> ARRAY[CAST(:image AS uuid)] AND grouping_id = ANY (:groupings)
        """),
        {"groupings": list(groupings), "image": image_id},
    )
    return [StoredGroup(*row) for row in rows]


def list_groups_with(session: Session, version_id: UUID, images: Sequence[UUID]) -> list[StoredGroup]:
    """The groups by the usual limits, as they were last computed, that have any of these images."""
    rows = session.execute(
        text("""
            SELECT g.id, g.images FROM duplicate_group g JOIN duplicate_grouping s ON s.id = g.grouping_id
            WHERE g.images && CAST(:images AS uuid[]) AND s.model_version_id = :version
              AND s.max_distance = :distance AND s.min_pixel_similarity = :similarity
        """),
        {"images": list(images), "version": version_id, **_values(USUAL)},
    )
    return [StoredGroup(*row) for row in rows]


def _grouping(row: Sequence[object]) -> Grouping:
    return Grouping(*row)  # type: ignore[arg-type]


def _values(limits: Limits) -> dict[str, float]:
    return {"distance": limits.max_distance, "similarity": limits.min_pixel_similarity}


def _is_compared(session: Session, grouping: Grouping) -> bool:
    """Whether a comparison is at work on the collection."""
    return nearest_neighbors.find_unfinished_comparison(session, grouping.collection_id, paused=False) is not None


def _compute(session: Session, grouping: Grouping) -> None:
    """Compute the groups anew, unless another transaction has just done so."""
    values = {"id": grouping.id}
    take_turns(session, f"umbel duplicates {grouping.id}")
    # Read before the links: what changes meanwhile counts as not known to the groups.
    statement = text("SELECT changes, computed FROM duplicate_grouping WHERE id = :id")
    row = session.execute(statement, values).one_or_none()
    if row is None or row.changes == row.computed:
        return
    groups = connected_components(_list_links(session, grouping))
    session.execute(text("DELETE FROM duplicate_group WHERE grouping_id = :id"), values)
    copy_rows(
        session,
        "duplicate_group",
        {"grouping_id": "uuid", "id": "uuid", "images": "uuid[]"},
        ((grouping.id, UUID(max(group)), [UUID(image) for image in group]) for group in groups),
    )
    known = text("UPDATE duplicate_grouping SET computed = :changes WHERE id = :id")
    session.execute(known, {**values, "changes": row.changes})
    session.execute(
        text("""
            DELETE FROM duplicate_grouping WHERE id IN (
                SELECT id FROM duplicate_grouping
                WHERE model_version_id = :version AND collection_id = :collection
                  AND (max_distance, min_pixel_similarity) <> (:distance, :similarity) AND id <> :id
                ORDER BY id DESC OFFSET :kept)
        """),
        {
            **values,
            **_values(USUAL),
            "version": grouping.model_version_id,
            "collection": grouping.collection_id,
            "kept": KEPT - 1,
        },
    )


def _list_links(session: Session, grouping: Grouping) -> list[tuple[str, str]]:
    """Pairs of images that are near enough and agree well enough; a pair may come twice.

    Ids as text, in whose order they sort as ids: there may be a million, and to make a UUID of each takes longer than
    all the rest.
    """
    rows = session.execute(
        text("""
            SELECT n.image_id::text, link.other::text
            FROM nearest_neighbors n
            CROSS JOIN LATERAL unnest(n.neighbors, n.distances, n.pixel_similarities)
                AS link(other, distance, pixel_similarity)
            JOIN image ON image.id = link.other AND (image.replaced_at IS NULL OR image.replaced_at < n.compared_at)
            WHERE n.model_version_id = :version AND n.collection_id = :collection
              AND n.nearest <= :distance AND n.pixel_similarity >= :similarity
              AND link.distance <= :distance AND link.pixel_similarity >= :similarity
        """),
        {
            "version": grouping.model_version_id,
            "collection": grouping.collection_id,
            "distance": grouping.max_distance,
            "similarity": grouping.min_pixel_similarity,
        },
    )
    return [(row[0], row[1]) for row in rows]
