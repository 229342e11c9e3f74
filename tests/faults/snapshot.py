"""All that a collection holds, read at one moment: the rows of the ledger, and the bytes in the blob store."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from tests.faults.sampler import miscounts


@dataclass(frozen=True, slots=True)
class ImageRow:
    id: UUID
    sha256: str
    blob_key: str


@dataclass(frozen=True, slots=True)
class ItemRow:
    id: UUID
    image_id: UUID | None
    state: str
    lease_owner: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class JobRow:
    id: UUID
    type: str
    status: str
    closed: bool
    total: int
    sourced: bool = False  # workers read it from a source; else it is sent picture by picture


@dataclass(slots=True)
class Snapshot:
    """embeddings: how many an image has of the active model version.

    blobs: {key: SHA-256 of the bytes}, of every file below the collection's folder, finished or not.
    miscounts: jobs whose counts are not what their items come to.
    """

    images: list[ImageRow] = field(default_factory=list)
    items: list[ItemRow] = field(default_factory=list)
    jobs: list[JobRow] = field(default_factory=list)
    embeddings: Counter[UUID] = field(default_factory=Counter)
    blobs: dict[str, str] = field(default_factory=dict)
    miscounts: list[str] = field(default_factory=list)


IMAGES = """
SELECT image.id, encode(sha256, 'hex'), blob_key FROM image JOIN collection c ON c.id = collection_id
WHERE c.name = %(collection)s
"""
ITEMS = """
SELECT i.id, i.image_id, i.state, i.lease_owner, i.error_code || ': ' || i.error_detail
FROM job_item i JOIN job ON job.id = job_id JOIN collection c ON c.id = collection_id WHERE c.name = %(collection)s
"""
JOBS = """
SELECT job.id, type, status, closed, total, EXISTS (SELECT FROM import_source s WHERE s.job_id = job.id)
FROM job JOIN collection c ON c.id = collection_id
WHERE c.name = %(collection)s
"""
EMBEDDINGS = """
SELECT e.image_id FROM embedding e JOIN model_version v ON v.id = model_version_id JOIN collection c
ON c.id = e.collection_id WHERE v.state = 'active' AND c.name = %(collection)s
"""


def read_snapshot(connection: "psycopg.Connection[Any]", collection: str, blobs: Path) -> Snapshot:
    """blobs: the root of the blob store, a folder."""
    values = {"collection": collection}
    with connection.transaction():
        snapshot = Snapshot(
            images=[ImageRow(*row) for row in connection.execute(IMAGES, values)],
            items=[ItemRow(*row) for row in connection.execute(ITEMS, values)],
            jobs=[JobRow(*row) for row in connection.execute(JOBS, values)],
            embeddings=Counter(row[0] for row in connection.execute(EMBEDDINGS, values)),
            miscounts=miscounts(connection, collection),
        )
    for path in (blobs / "pictures" / collection).rglob("*"):
        if path.is_file():
            snapshot.blobs[path.relative_to(blobs).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return snapshot
