"""Exports: a collection's vectors under a model version, read in batches, so that memory stays flat however many."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy.orm import Session

from umbel.base.replicas import read_prepared
from umbel.gallery import collections
from umbel.gallery.collections import NOT_DELETED
from umbel.gallery.filter_sql import filter_literal
from umbel.gallery.filters import Filter
from umbel.models import versions
from umbel.vectors import rows
from umbel.vectors.rows import ExportedRows, FileFacts

FIRST = UUID(int=0)
HEADER_BYTES = 4  # of a halfvec as Postgres sends it: its number of dimensions, and nothing

# The next images of an export. The page comes first, and LATERAL … OFFSET 0 keeps the planner from reading all vectors
# for each page; the version is a literal, so that only its own partition is looked into.
NEXT = """
WITH page AS MATERIALIZED (
    SELECT i.* FROM image i
    WHERE i.id > %(after)s AND {scope} AND {condition} ORDER BY i.id LIMIT {batch}
)
SELECT page.id, c.name, page.name, page.external_id, page.label, page.metadata::text, page.sha256, e.vector
FROM page JOIN collection c ON c.id = page.collection_id AND c.deleted_at IS NULL LEFT JOIN LATERAL (
    SELECT halfvec_send(vector) AS vector FROM embedding
    WHERE image_id = page.id AND model_version_id = '{version}' OFFSET 0
) e ON true
ORDER BY page.id
"""


@dataclass(frozen=True, slots=True)
class Export:
    """What is exported: images of a collection (None: of all) that meet the filter and have a vector of the version."""

    facts: FileFacts
    collection_id: UUID | None
    filter: Filter


def begin_export(session: Session, *, collection: str | None, asked: Filter, version_id: UUID | None) -> Export:
    """An export from the collection under a version (None: the active one).

    Raises NotFound for the collection, for the version and for a retired one; NotReady without an active version.
    """
    version = versions.get_version_to_use(session, version_id)
    collection_id = collections.id_of(session, collection)
    return Export(FileFacts(version.id, version.name, version.dim), collection_id, asked)


def read_rows(export: Export) -> Iterator[ExportedRows]:
    """All rows of an export, by id, each batch as it is when it is reached. Raises NotReady."""
    condition = filter_literal(export.filter).replace("%", "%%")  # no placeholder begins in it
    scope = "i.collection_id = %(collection)s" if export.collection_id else f"i.collection_id {NOT_DELETED}"
    statement = NEXT.format(scope=scope, condition=condition, batch=rows.BATCH, version=export.facts.model_version)
    after, more = FIRST, True
    while more:
        page, _ = read_prepared(statement, {"after": after, "collection": export.collection_id})
        more = len(page) == rows.BATCH
        if page:
            after = page[-1][0]
        if embedded := [row for row in page if row[-1] is not None]:
            yield _rows(embedded, export.facts.dim)


def _rows(page: list[tuple[Any, ...]], dim: int) -> ExportedRows:
    ids, places, names, external_ids, labels, metadata, hashes, sent = zip(*page, strict=True)
    vectors = np.frombuffer(b"".join(one[HEADER_BYTES:] for one in sent), ">f2").reshape(-1, dim)
    return ExportedRows(
        image_ids=[str(one) for one in ids],
        collections=places,
        names=names,
        external_ids=external_ids,
        labels=labels,
        metadata=metadata,
        sha256=[one.hex() for one in hashes],
        vectors=vectors.astype(np.float32),
    )
