"""Collections to delete, and what is left of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import text

from tests.images import image_bytes
from tests.integration.factory import unit
from tests.integration.scene import Silent
from tests.integration.uploads import add_image
from umbel.base.blobs import Blobs, blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.embedding import embeddings
from umbel.gallery.deletion import DeletionHandler, begin_deletion
from umbel.gallery.upload import Accepted, Upload
from umbel.imports import entries, source_rows
from umbel.imports.entries import NewEntry
from umbel.imports.imports import open_import
from umbel.jobs import jobs
from umbel.models import versions
from umbel.operations.reconciliation import reconcile
from umbel.operations.reconciliation.blobs import PREFIXES
from umbel.operations.reconciliation.context import Context

EMPTY = {
    "image": 0,
    "embedding": 0,
    "nearest_neighbors": 0,
    "image_signature": 0,
    "import_source": 0,
    "pending_blob_cleanup": 0,
}


def upload(seed: int, collection: str = "garden", **options: Any) -> Accepted:
    return add_image(transaction, blobs(), settings(), Upload(image_bytes(seed), collection, **options))


def embed() -> None:
    """Give every image an embedding of every version, and finish its items."""
    with transaction() as session:
        rows = [(row[0], row[1]) for row in session.execute(text("SELECT id, collection_id FROM image ORDER BY id"))]
        vectors = np.stack([unit(image_id.int % 2**32) for image_id, _ in rows])
        for of in versions.list_versions(session):
            embeddings.upsert_embeddings(session, of.id, rows, vectors)
        session.execute(text("UPDATE job_item SET state = 'indexed' WHERE state = 'pending'"))


def delete(name: str = "garden") -> UUID:
    return begin_deletion(transaction, Silent(), name).job_id  # type: ignore[arg-type]


def run(store: Blobs | None = None) -> None:
    DeletionHandler(transaction=transaction, blobs=store or blobs()).run()


def table_sizes() -> dict[str, int]:
    with transaction() as session:
        return {name: session.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in EMPTY}


def stored() -> list[str]:
    return sorted(blob.key for prefix in PREFIXES for blob in blobs().list(prefix))


def count(job_id: UUID) -> dict[str, Any]:
    with transaction() as session:
        job = jobs.get_job(session, job_id)
        return {name: getattr(job, name) for name in ("status", "total", "pending", "indexed", "cancelled")}


def amiss() -> dict[str, list[str]]:
    """What reconciliation finds; the versions of these tests have no files."""

    @contextmanager
    def watch(doing: str, total: int | None) -> Iterator[Any]:
        yield lambda done: None

    context = Context(transaction, blobs(), Silent(), settings(), watch, repair=False, deep=True)  # type: ignore[arg-type]
    return {kind.code: kind.examples for kind in reconcile(context) if kind.found and kind.code != "missing_model"}


def archived_import() -> UUID:
    """An import of an uploaded archive: one entry waits, one has failed, and it is not listed to its end."""
    blobs().put("imports/archive", b"zip")
    with transaction() as session:
        job_id = open_import(session, "garden")
        spec = {"type": "zip", "blob_key": "imports/archive"}
        source_rows.insert_source(session, job_id, spec, label_from_folder=False, dry_run=False)
        bad = NewEntry("bad.jpg", "1", error=("corrupt_entry", "It is."))
        entries.insert_entries(session, job_id, [NewEntry("good.jpg", "0"), bad])
    return job_id
