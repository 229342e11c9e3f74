"""HNSW indexes of single collections, beside the one of all embeddings of a version.

For galleries that are searched collection by collection: a search within one follows a graph of its images alone, and
needs no more memory than that. A collection has one from UMBEL_COLLECTION_INDEX_ABOVE images on, unless it holds most
of the gallery. Each write then pays for two indexes. docs/adr/0029-an-index-for-a-large-collection.md has the figures.
"""

from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.database import Transaction, autocommit
from umbel.base.settings import Settings
from umbel.models import partitions, versions
from umbel.models.versions import VersionKey

log = structlog.get_logger()

MOST = 0.5  # of the gallery: the index of all images serves a larger collection nearly as well
# Collections with so many embeddings at least, how many, and their share of all.
LARGE = text("""
    SELECT collection.id, images, images / total AS share FROM (
        SELECT split_part(place, ' ', 2)::uuid AS id, sum(change) AS images, sum(sum(change)) OVER () AS total
        FROM tally WHERE counted = 'embedded' AND place LIKE :version || ' %' GROUP BY place
    ) embedded JOIN collection ON collection.id = embedded.id
    WHERE images >= :least AND deleted_at IS NULL ORDER BY images DESC
""")


@dataclass(frozen=True, slots=True)
class Difference:
    """Collections of a version that lack their own index, and those that no longer need the one that they have."""

    version: VersionKey
    lacking: list[UUID]
    needless: list[UUID]


def find_differences(session: Session, settings: Settings) -> list[Difference]:
    """What is to be done in each version that is searched; none while its own index is left out or being built."""
    found = [
        _difference(session, VersionKey(version.id, version.dim), settings.collection_index_above)
        for version in versions.list_loaded(session)
        if partitions.has_index(session, version.id)
    ]
    return [one for one in found if one.lacking or one.needless]


def _difference(session: Session, version: VersionKey, above: int) -> Difference:
    """An index is kept until its collection has lost half of the images that it takes to get one."""
    there = partitions.list_collection_indexes(session, version.id)
    large = session.execute(LARGE, {"version": str(version.id), "least": above / 2}).all() if above else []
    lacking = [row.id for row in large if row.images >= above and row.share <= MOST and not there.get(row.id)]
    return Difference(version, lacking, [one for one in there if one not in {row.id for row in large}])


def update_collection_indexes(transaction: Transaction, settings: Settings) -> None:
    """Build the indexes that collections lack, and remove those that they no longer need, beside all else.

    Harmless to call at any time, by many at once.
    """
    with transaction() as session:
        differences = find_differences(session, settings)
    for one in differences:
        for collection_id in one.needless:
            with autocommit() as session:
                if partitions.drop_collection_index(session, one.version.id, collection_id):
                    log.info("index of a collection removed", collection=str(collection_id))
        for collection_id in one.lacking:
            with autocommit() as session:
                built = partitions.build_index(
                    session,
                    one.version.id,
                    one.version.dim,
                    memory_mb=settings.index_memory_mb,
                    processes=settings.index_processes,
                    collection_id=collection_id,
                )
            if built:
                log.info("index of a collection built", collection=str(collection_id))
