"""Deleting collections: nothing is left and nothing else is touched, whatever goes on, wherever it is killed."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from stack.redis import Redis
from tests.images import image_bytes
from tests.integration.factory import Factory, unit
from tests.integration.scene import Silent, compare, comparison_line, version
from tests.processes import eventually
from umbel.base.blobs import Blobs, blobs
from umbel.base.database import engine, transaction
from umbel.base.errors import Conflict, NotFound, TransientError
from umbel.base.settings import settings
from umbel.base.types import JobType, Queue
from umbel.embedding import embeddings
from umbel.gallery import blob_cleanups, collections, deleting, images
from umbel.gallery.deleting import DeletionLine
from umbel.gallery.deletion import begin_deletion
from umbel.gallery.images import NewImage
from umbel.gallery.ingest import Accepted, Upload, add_image
from umbel.imports import entries, source_rows
from umbel.imports.entries import NewEntry
from umbel.imports.imports import open_import
from umbel.insights import signatures
from umbel.jobs import claims, items, jobs
from umbel.jobs.wakeup import waker
from umbel.models import versions
from umbel.operations import job_actions, maintenance
from umbel.operations.reconciliation import reconcile
from umbel.operations.reconciliation.context import Context

pytestmark = pytest.mark.usefixtures("database")

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
    DeletionLine(transaction, store or blobs()).run()


def table_sizes() -> dict[str, int]:
    with transaction() as session:
        return {name: session.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in EMPTY}


def stored() -> list[str]:
    return sorted(blob.key for prefix in ("pictures", "thumbnails", "imports") for blob in blobs().list(prefix))


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
        entries.insert_entries(session, job_id, [NewEntry("good.jpg", "0"), bad], paused=False)
    return job_id


def test_nothing_is_left_of_a_deleted_collection() -> None:
    version(), version()
    with comparison_line() as line:
        accepted = [upload(seed) for seed in range(5)]
        embed()
        compare(line, collection="garden")
    with transaction() as session:
        signatures.insert_signatures(session, {accepted[0].image_id: None})
        image = images.get_image(session, accepted[0].image_id)
    images.read_thumbnail(transaction, blobs(), settings(), image)
    archived_import()
    job_id = delete()
    run()
    assert (table_sizes(), stored(), amiss()) == (EMPTY, [], {})
    assert count(job_id) == {"status": "succeeded", "total": 5, "pending": 0, "indexed": 5, "cancelled": 0}
    with transaction() as session:
        assert session.execute(text("SELECT id, type, collection_id FROM job")).all() == [(job_id, "deletion", None)]
        kept = session.execute(text("SELECT image_id, name, locator, label FROM job_item")).all()
        assert set(kept) == {(None, None, None, None)}
        assert session.scalar(text("SELECT count(*) FROM collection")) == 0


def test_other_collections_are_not_touched() -> None:
    of = version()
    kept = [upload(seed, "meadow").image_id for seed in range(3)]
    for seed in range(3):
        upload(seed)
    embed()
    delete()
    run()
    with transaction() as session:
        assert set(session.scalars(text("SELECT id FROM image"))) == set(kept)
        assert set(embeddings.find_vectors(session, of.id, kept)) == set(kept)
    assert stored() == sorted(f"{key}" for key in stored() if "/meadow/" in key)
    assert (len(stored()), amiss()) == (3, {})


def test_an_empty_collection_is_deleted() -> None:
    with transaction() as session:
        collections.insert_collection(session, "garden")
    job_id = delete()
    run()
    assert count(job_id)["status"] == "succeeded"


def test_asked_for_twice_it_is_one_job_and_a_new_collection_is_another() -> None:
    upload(1)
    first, again = delete(), delete()
    upload(2)
    second = delete()
    assert (first == again, second == first) == (True, False)
    run()
    assert (table_sizes(), stored()) == (EMPTY, [])
    with pytest.raises(NotFound):
        delete()


def test_many_may_ask_for_it_at_once() -> None:
    upload(1)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: delete(), range(16)))) == 1


def test_bytes_that_a_new_collection_of_that_name_has_too_stay() -> None:
    upload(1)
    upload(2)
    delete()
    again = upload(1)
    assert not again.duplicate
    with transaction() as session:
        image = images.get_image(session, again.image_id)
    images.read_thumbnail(transaction, blobs(), settings(), image)
    run()
    assert stored() == sorted([image.blob_key, blob_cleanups.thumbnail_key(image.blob_key)])
    assert (blobs().get(image.blob_key), amiss()) == (image_bytes(1), {})


def test_what_was_pending_is_cancelled_and_nothing_more_is_listed() -> None:
    upload(1)
    job_id = archived_import()
    delete()
    with transaction() as session:
        job = jobs.get_job(session, job_id)
        assert (job.closed, job.cancelling, source_rows.claim_source(session)) == (True, True, None)
        assert claims.claim_entries(session, owner="me", limit=9, lease_seconds=60, max_attempts=3) == []
    with pytest.raises(Conflict, match="closed"):
        upload(2, job_id=job_id)
    line = DeletionLine(transaction, blobs())
    line._go_on()
    with transaction() as session:
        states = session.execute(text("SELECT state, count(*) FROM job_item GROUP BY state")).all()
        job = jobs.get_job(session, job_id)
        assert (job.total, job.pending, job.failed, job.cancelled, job.status) == (2, 0, 1, 1, "cancelled")
    assert {tuple(row) for row in states} == {("cancelled", 2), ("failed", 1)}


def test_what_is_to_be_cancelled_keeps_no_other_import_from_being_claimed() -> None:
    archived_import()
    job_actions.pause_job(transaction, delete())
    with transaction() as session:
        job_id = Factory(session).job(job_type=JobType.IMPORT)
        entries.insert_entries(session, job_id, [NewEntry("a.jpg", "a.jpg")], paused=False)
        [entry] = claims.claim_entries(session, owner="me", limit=1, lease_seconds=60, max_attempts=3)
    assert entry.job_id == job_id


def test_a_worker_that_was_reading_for_it_stores_nothing() -> None:
    job_id = archived_import()
    with transaction() as session:
        [entry] = claims.claim_entries(session, owner="me", limit=9, lease_seconds=60, max_attempts=3)
    delete()
    image = NewImage(entry.collection_id, bytes(32), "pictures/x", "image/jpeg", 1, 1, 1)
    with transaction() as session:
        assert entries.insert_fetched_images(session, {entry.id: image}) == {}
        assert entries.assign_images(session, [entry.id], []) == []
    run()
    with transaction() as session:
        assert entries.insert_fetched_images(session, {entry.id: image}) == {}
        with pytest.raises(NotFound):
            jobs.get_job(session, job_id)
    assert table_sizes() == EMPTY


def test_an_upload_in_flight_is_waited_for_and_goes_with_the_others() -> None:
    slow, writing, go_on = Blobs(settings().blobs), threading.Event(), threading.Event()
    put = slow.put

    def wait_and_put(key: str, data: bytes) -> None:
        writing.set()
        assert go_on.wait(30)
        put(key, data)

    slow.put = wait_and_put  # type: ignore[method-assign]
    upload(1)
    with ThreadPoolExecutor(2) as pool:
        sent = pool.submit(add_image, transaction, slow, settings(), Upload(image_bytes(2), "garden"))
        assert writing.wait(30)
        job_id = delete()
        assert sent.running()  # nobody waits for it here
        deleted = pool.submit(run)
        eventually(lambda: count(job_id)["indexed"] == 1)
        assert count(job_id)["status"] == "running"
        go_on.set()
        assert not sent.result(30).duplicate
        deleted.result(30)
    assert count(job_id) == {"status": "succeeded", "total": 2, "pending": 0, "indexed": 2, "cancelled": 0}
    assert (table_sizes(), stored()) == (EMPTY, [])


def test_uploads_while_it_is_deleted_again_and_again_leave_no_orphan() -> None:
    rejected: list[Exception] = []
    over = threading.Event()

    def send(seed: int) -> None:
        for turn in range(25):
            try:
                upload(100 * seed + turn % 7)
            except (TransientError, Conflict) as error:  # 503 or 409: send it again
                rejected.append(error)

    def remove() -> None:
        while not over.is_set():
            try:
                delete()
            except NotFound:
                continue
            run()

    with ThreadPoolExecutor(6) as pool:
        removing = [pool.submit(remove) for _ in range(2)]
        for sent in [pool.submit(send, seed) for seed in range(4)]:
            sent.result()
        over.set()
        for each in removing:
            each.result()
    with transaction() as session:
        collections.upsert_collection(session, "garden")
    delete()
    run()
    with transaction() as session:
        session.execute(text("UPDATE pending_blob_cleanup SET since = '-infinity'"))
    maintenance.tidy_blobs(transaction, blobs())
    assert (table_sizes(), stored()) == (EMPTY, [])
    assert len(rejected) < 10


def test_killed_before_any_commit_it_goes_on_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleting, "BATCH", 2)
    monkeypatch.setattr(deleting, "LEDGER_BATCH", 3)
    version()
    for survived in range(99):
        for seed in range(5):
            upload(seed)
        embed()
        archived_import()
        job_id = delete()
        with mortal(survived) as transactions, suppress(Death):
            DeletionLine(transactions, blobs()).run()
        died = count(job_id)
        assert (died["total"], amiss()) == (died["pending"] + died["indexed"], {})
        run()
        assert count(job_id) == {"status": "succeeded", "total": 5, "pending": 0, "indexed": 5, "cancelled": 0}
        assert (table_sizes() | {"pending_blob_cleanup": 0}, stored()) == (EMPTY, [])  # a note may be left, of nothing
        if died["status"] == "succeeded":
            assert survived > 12
            return
    pytest.fail("it never came to its end")


class Death(BaseException):
    """Not to be caught by anything but the test."""


@contextmanager
def mortal(survived: int) -> Iterator[Any]:
    """Transactions of a process that dies before it commits the one after `survived` others."""
    left = survived

    @contextmanager
    def transactions() -> Iterator[Session]:
        nonlocal left
        with transaction() as session:
            yield session
            if not left:
                raise Death
            left -= 1

    yield transactions


def test_a_comparison_of_all_goes_on_without_what_is_gone() -> None:
    version()
    for seed in range(3):
        upload(seed)
        upload(seed, "meadow")
    embed()
    with transaction() as session:
        job_id = jobs.insert_job(session, JobType.COMPARISON, collection_id=None, closed=True)  # type: ignore[arg-type]
        for image_id in session.scalars(text("SELECT id FROM image")).all():
            items.insert_item(session, job_id, image_id=image_id, queue=Queue.COMPARE, name="mine.jpg")
    delete()
    run()
    assert count(job_id) == {"status": "queued", "total": 3, "pending": 3, "indexed": 0, "cancelled": 0}
    assert amiss() == {}


@pytest.mark.parametrize("gone", [False, True])
def test_an_idempotency_key_may_be_used_again(gone: bool) -> None:
    first = upload(1, idempotency_key="key")
    delete()
    if gone:
        run()
    again, repeated = upload(2, idempotency_key="key"), upload(2, idempotency_key="key")
    assert (again.image_id != first.image_id, again) == (True, repeated)


def test_it_can_be_paused_and_not_cancelled_or_sealed(redis: Redis) -> None:
    upload(1)
    job_id = delete()
    for verb in (job_actions.cancel_job, job_actions.close_job):
        with pytest.raises(Conflict, match="deletes a collection"):
            verb(transaction, job_id)
    job_actions.pause_job(transaction, job_id)
    run()
    assert count(job_id) == {"status": "queued", "total": 0, "pending": 0, "indexed": 0, "cancelled": 0}
    assert Queue.DELETE not in maintenance.sweep(transaction, waker(), settings())
    job_actions.resume_job(transaction, waker(), job_id)
    run()
    assert count(job_id)["status"] == "succeeded"


def test_what_failed_in_a_deleted_collection_is_not_tried_again(redis: Redis) -> None:
    job_id = archived_import()
    delete()
    with pytest.raises(Conflict, match="being deleted"):
        job_actions.retry_job(transaction, waker(), job_id)


def test_the_sweep_rings_for_it_and_never_gives_it_up(redis: Redis) -> None:
    upload(1)
    embed()
    job_id = delete()
    with transaction() as session:
        session.execute(text("ALTER TABLE job DISABLE TRIGGER job_times"))
        session.execute(text("UPDATE job SET changed_at = now() - interval '1 day'"))
        session.execute(text("ALTER TABLE job ENABLE TRIGGER job_times"))
    assert maintenance.sweep(transaction, waker(), settings()) == [Queue.DELETE]
    assert (count(job_id)["status"], amiss()) == ("queued", {})


def test_a_single_image_cannot_be_removed_from_under_it() -> None:
    image_id = upload(1).image_id
    job_id = delete()
    DeletionLine(transaction, blobs())._go_on()
    DeletionLine(transaction, blobs())._go_on()
    with pytest.raises(NotFound):
        images.remove_image(transaction, blobs(), image_id)
    with transaction() as session:  # one that found the image before it was hidden
        items.lock_items_of_image(session, image_id)
        session.execute(text("DELETE FROM image"))
    run()
    assert count(job_id) == {"status": "succeeded", "total": 1, "pending": 0, "indexed": 1, "cancelled": 0}


def test_a_batch_costs_the_same_queries_however_many_images_it_has() -> None:
    def queries(images: int) -> int:
        for seed in range(images):
            upload(seed)
        delete()
        seen: list[str] = []
        watch = lambda *call: seen.append(call[2])  # noqa: E731
        event.listen(engine(), "before_cursor_execute", watch)
        run()
        event.remove(engine(), "before_cursor_execute", watch)
        return len(seen)

    assert queries(2) == queries(40)


def test_bytes_that_cannot_be_removed_now_are_removed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umbel.jobs.outcomes.PATIENCE_SECONDS", 0)
    stubborn = Blobs(settings().blobs)
    stubborn.delete = lambda key: (_ for _ in ()).throw(TransientError("Away."))  # type: ignore[method-assign]
    upload(1)
    job_id = delete()
    with pytest.raises(TransientError):
        run(stubborn)
    assert (count(job_id)["pending"], stored(), amiss()) == (
        1,
        [blob_cleanups.blob_key("garden", sha256(image_bytes(1)).digest())],
        {},
    )
    run()
    assert (count(job_id)["status"], stored()) == ("succeeded", [])
