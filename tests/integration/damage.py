"""A service at rest, and each way to damage it: one thing at a time, with the code of what is then amiss."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.images import image_bytes
from tests.integration.factory import DIM, unit
from tests.integration.uploads import add_image
from umbel.base.blobs import Blobs
from umbel.base.database import autocommit, transaction
from umbel.base.settings import settings
from umbel.base.types import ItemState, Queue
from umbel.embedding import embeddings
from umbel.gallery import images
from umbel.gallery.upload import Upload
from umbel.imports import source_rows
from umbel.imports.imports import open_import
from umbel.jobs import claims, items, jobs
from umbel.jobs.wakeup import waker
from umbel.models import checkpoints, partitions, versions
from umbel.operations.reconciliation import reconcile
from umbel.operations.reconciliation.context import Context


@contextmanager
def unwatched(doing: str, total: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda done: None


@dataclass
class Gallery:
    """A service at rest: an active model, three images embedded, nothing amiss."""

    blobs: Blobs
    folder: Path
    images: list[UUID] = field(default_factory=list)

    def register(self, seed: int, *, activate: bool = True) -> str:
        """A model version with its files. Returns its hash."""
        weights = b"weights %d" % seed
        digest = hashlib.sha256(weights).hexdigest()
        candidate = checkpoints.Candidate(weights, b"{}", f"model {seed}", "none", DIM, digest, "none", {})
        with transaction() as session:
            version = checkpoints.register(session, self.blobs, candidate)
            if activate:
                partitions.create_partition(session, version.id, DIM)  # with its index
                versions.activate_version(session, version.id)
        return digest

    def upload(self, seed: int) -> UUID:
        return add_image(transaction, self.blobs, settings(), Upload(image_bytes(seed))).image_id

    def work(self) -> None:
        """Embed what is queued, as a worker does."""
        for queue in (Queue.SINGLE, Queue.BULK):
            with transaction() as session:
                claimed = claims.claim_items(session, queue, owner="me", limit=1000, lease_seconds=60)
            with transaction() as session:
                ids = [item.id for item in claimed]
                items.lock_items(session, ids)
                done = items.finish_items(session, ids, ItemState.INDEXED)
                owners = [(item.image_id, item.collection_id) for item in claimed if item.id in done]
                vectors = np.stack([unit(owner.int % 1000) for owner, _ in owners]) if owners else np.empty((0, DIM))
                version = versions.get_active_version(session)
                embeddings.upsert_embeddings(session, version.id, owners, vectors)

    def key(self, image: int = 0) -> str:
        with transaction() as session:
            return images.get_image(session, self.images[image]).blob_key

    def find(self, *, repair: bool = False, deep: bool = True, blobs: Blobs | None = None) -> dict[str, int]:
        """{code: how many} of what is amiss and was not repaired, or with `repair` of what was."""
        context = Context(transaction, blobs or self.blobs, waker(), settings(), unwatched, repair=repair, deep=deep)
        found = {kind.code: kind.repaired if repair else kind.found for kind in reconcile(context)}
        return {code: count for code, count in found.items() if count}


def run(statement: str, **values: object) -> None:
    with transaction() as session:
        session.execute(text(statement), values)


def let_age(job: object) -> None:
    """Make a job one that nothing has happened to for an hour."""
    with transaction() as session:
        session.execute(text("ALTER TABLE job DISABLE TRIGGER job_times"))
        session.execute(text("UPDATE job SET changed_at = now() - interval '1 h' WHERE id = :id"), {"id": job})
        session.execute(text("ALTER TABLE job ENABLE TRIGGER job_times"))


def partition() -> str:
    with transaction() as session:
        return f"embedding_{versions.get_active_version(session).id.hex}"


# Each breaks one thing.


def miscount(broken: Gallery) -> None:
    run("UPDATE job SET indexed = indexed + 1, total = total + 1 WHERE id = (SELECT id FROM job LIMIT 1)")


def miscount_pending(broken: Gallery) -> None:
    run("UPDATE job SET indexed = 0, pending = 1 WHERE id = (SELECT id FROM job LIMIT 1)")


def close_too_early(broken: Gallery) -> None:
    with transaction() as session:
        job = open_import(session, "default")
        source_rows.insert_source(session, job, {"type": "folder"}, label_from_folder=False, dry_run=False)
        jobs.close_job(session, job)


def leave_a_source_of_a_cancelled_job(broken: Gallery) -> None:
    close_too_early(broken)
    run("UPDATE job SET cancelling = true WHERE type = 'import'")


def abandon_a_job(broken: Gallery) -> None:
    with transaction() as session:
        job = open_import(session, "default")
    let_age(job)


def orphan_an_item(broken: Gallery) -> None:
    broken.upload(9)
    with transaction() as session:
        claims.claim_items(session, Queue.SINGLE, owner="gone", limit=1, lease_seconds=-3600)


def lose_a_tally(broken: Gallery) -> None:
    run("DELETE FROM tally WHERE counted = 'embedded'")


def count_what_is_not_there(broken: Gallery) -> None:
    run("INSERT INTO tally VALUES ('paused', 'bulk', 7)")


def nest_metadata(broken: Gallery) -> None:
    nested = '{"a": ' + "[" * 300 + "]" * 300 + "}"
    run("UPDATE image SET metadata = CAST(:nested AS jsonb) WHERE id = :id", nested=nested, id=broken.images[0])


def leave_in_doubt(broken: Gallery) -> None:
    broken.blobs.put("pictures/default/aa/aa", b"bytes")
    run(
        "INSERT INTO pending_blob_cleanup"
        " VALUES (uuidv7(interval '-1 h'), 'pictures/default/aa/aa', now() - interval '1 h')"
    )


def leave_bytes(broken: Gallery) -> None:
    broken.blobs.put("pictures/default/aa/aa", b"bytes")


def leave_a_thumbnail(broken: Gallery) -> None:
    broken.blobs.put("thumbnails/default/aa/aa", b"bytes")


def leave_a_published_picture(broken: Gallery) -> None:
    broken.blobs.put("published/default/aa/aa", b"bytes")


def leave_an_upload(broken: Gallery) -> None:
    broken.blobs.put("imports/aa", b"bytes")


def leave_a_model(broken: Gallery) -> None:
    broken.blobs.put("models/aa/weights.safetensors", b"bytes")


def forget_an_image(broken: Gallery) -> None:
    run("DELETE FROM job_item WHERE image_id = :id", id=broken.images[0])
    run("DELETE FROM embedding WHERE image_id = :id", id=broken.images[0])


def lose_an_embedding(broken: Gallery) -> None:
    run("DELETE FROM embedding WHERE image_id = :id", id=broken.images[0])


def scale_a_vector(broken: Gallery) -> None:
    run("UPDATE embedding SET vector = '[2,0,0,0,0,0,0,0]' WHERE image_id = :id", id=broken.images[0])


def clear_a_vector(broken: Gallery) -> None:
    run("UPDATE embedding SET vector = '[0,0,0,0,0,0,0,0]' WHERE image_id = :id", id=broken.images[0])


def drop_the_index(broken: Gallery) -> None:
    run(f"DROP INDEX {partition()}_hnsw")


def leave_an_index_half_built(broken: Gallery) -> None:
    drop_the_index(broken)
    with suppress(DBAPIError), autocommit() as connection:  # of a width that the vectors do not have
        index = f"{partition()}_hnsw ON {partition()} USING hnsw ((vector::halfvec(3)) halfvec_cosine_ops)"
        connection.execute(text(f"CREATE INDEX CONCURRENTLY {index}"))
    with transaction() as session:
        valid = session.scalar(
            text(f"SELECT indisvalid FROM pg_index WHERE indexrelid = '{partition()}_hnsw'::regclass")
        )
    assert valid is False


def leave_a_job_waiting_for_the_index(broken: Gallery) -> None:
    with transaction() as session:
        job, *_ = jobs.list_jobs(session, status=None, job_type=None, before=None, limit=1)
        jobs.change_job(session, job.id, indexing=True)
    let_age(job.id)


REPAIRED = [
    (miscount, "job_counts"),
    (miscount_pending, "job_counts"),
    (close_too_early, "unlisted_source"),
    (leave_a_source_of_a_cancelled_job, "unlisted_source"),
    (abandon_a_job, "idle_job"),
    (orphan_an_item, "orphaned_item"),
    (lose_a_tally, "wrong_tally"),
    (count_what_is_not_there, "wrong_tally"),
    (nest_metadata, "unservable_metadata"),
    (leave_in_doubt, "pending_blob_cleanup"),
    (leave_bytes, "stray_blob"),
    (leave_a_thumbnail, "stray_blob"),
    (leave_a_published_picture, "stray_blob"),
    (leave_an_upload, "stray_upload"),
    (leave_a_model, "stray_model"),
    (forget_an_image, "no_embedding"),
    (lose_an_embedding, "lost_embedding"),
    (scale_a_vector, "wrong_vector"),
    (clear_a_vector, "wrong_vector"),
    (drop_the_index, "no_index"),
    (leave_an_index_half_built, "no_index"),
    (leave_a_job_waiting_for_the_index, "index_awaited"),
]


def lose_bytes(broken: Gallery) -> None:
    broken.blobs.delete(broken.key())


def cut_bytes(broken: Gallery) -> None:
    broken.blobs.put(broken.key(), broken.blobs.get(broken.key())[:-1])


def flip_a_byte(broken: Gallery) -> None:
    data = bytearray(broken.blobs.get(broken.key()))
    data[-1] ^= 1
    broken.blobs.put(broken.key(), bytes(data))


def lose_a_model(broken: Gallery) -> None:
    broken.blobs.delete(next(blob.key for blob in broken.blobs.list("models")))


LOST = [
    (lose_bytes, "missing_blob"),
    (cut_bytes, "wrong_size"),
    (flip_a_byte, "wrong_hash"),
    (lose_a_model, "missing_model"),
]
