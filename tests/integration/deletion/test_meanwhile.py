"""What goes on while a collection is deleted: uploads, imports, a process that dies, a store that is away."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.images import image_bytes
from tests.integration.deletion.garden import (
    EMPTY,
    amiss,
    archived_import,
    count,
    delete,
    embed,
    run,
    stored,
    table_sizes,
    upload,
)
from tests.integration.factory import Factory
from tests.integration.scene import version
from tests.integration.uploads import add_image
from tests.processes import eventually
from umbel.base.blobs import Blobs, blobs
from umbel.base.database import transaction
from umbel.base.errors import Conflict, NotFound, TransientError
from umbel.base.settings import settings
from umbel.base.types import JobType, Queue
from umbel.decoding.images import inspect
from umbel.gallery import blob_cleanups, collections, deletion, images
from umbel.gallery.deletion import DeletionHandler
from umbel.gallery.storing import ReceivedImage
from umbel.gallery.upload import Upload
from umbel.imports import entries, source_rows
from umbel.imports.entries import NewEntry
from umbel.imports.fetching import FetchingHandler
from umbel.imports.turns import Turns
from umbel.jobs import claims, items, jobs
from umbel.jobs.leases import Leases
from umbel.operations import job_actions, maintenance
from worker.decoders import WorkerDecoders

pytestmark = pytest.mark.usefixtures("database")


def test_what_was_pending_is_cancelled_and_nothing_more_is_listed() -> None:
    upload(1)
    job_id = archived_import()
    delete()
    with transaction() as session:
        job = jobs.get_job(session, job_id)
        assert (job.closed, job.cancelling, source_rows.list_ready(session, besides=[])) == (True, True, [])
    with pytest.raises(Conflict, match="closed"):
        upload(2, job_id=job_id)
    line = DeletionHandler(transaction=transaction, blobs=blobs())
    line._go_on()
    with transaction() as session:
        states = session.execute(text("SELECT state, count(*) FROM job_item GROUP BY state")).all()
        job = jobs.get_job(session, job_id)
        assert (job.total, job.pending, job.failed, job.cancelled, job.status) == (2, 0, 1, 1, "cancelled")
    assert {tuple(row) for row in states} == {("cancelled", 2), ("failed", 1)}


def test_what_is_to_be_cancelled_keeps_no_other_import_from_its_turn() -> None:
    archived_import()
    job_actions.pause_job(transaction, delete())
    with transaction() as session:
        job_id = Factory(session).job(job_type=JobType.IMPORT)
        entries.insert_entries(session, job_id, [NewEntry("a.jpg", "a.jpg")])
        source_rows.insert_source(session, job_id, {}, label_from_folder=False, dry_run=False)
        assert [ready.job_id for ready in source_rows.list_ready(session, besides=[])] == [job_id]


def test_a_worker_that_was_reading_for_it_stores_nothing(decoder: WorkerDecoders) -> None:
    job_id = archived_import()
    with ThreadPoolExecutor(1) as readers:
        leases = Leases(transaction, "me", 60)
        line = FetchingHandler(
            transaction=transaction,
            settings=settings(),
            leases=leases,
            blobs=blobs(),
            decoder=decoder,
            readers=readers,
            writers=readers,
            turns=Turns(transaction),
            wake=lambda _: None,
        )
        line._job = job_id
        batch = line._claim([Queue.FETCH], claims.claim_items, 9)
        assert batch is not None
        [entry] = batch.items
        image = ReceivedImage.of(
            image_bytes(1), inspect(image_bytes(1), settings()), "garden", name=None, label=None, meta={}
        )
        delete()
        for gone in (False, True):
            batch.read = {entry.id: image}
            line.store(batch)
            assert (table_sizes()["image"], stored()) == (0, [] if gone else ["imports/archive"])
            run()
    with transaction() as session, pytest.raises(NotFound):
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


@pytest.mark.slow
def test_killed_before_any_commit_it_goes_on_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "BATCH", 2)
    monkeypatch.setattr(deletion, "LEDGER_BATCH", 3)
    version()
    for survived in range(99):
        for seed in range(5):
            upload(seed)
        embed()
        archived_import()
        job_id = delete()
        with mortal(survived) as transactions, suppress(Death):
            DeletionHandler(transaction=transactions, blobs=blobs()).run()
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


def test_a_single_image_cannot_be_removed_from_under_it() -> None:
    image_id = upload(1).image_id
    job_id = delete()
    DeletionHandler(transaction=transaction, blobs=blobs())._go_on()
    DeletionHandler(transaction=transaction, blobs=blobs())._go_on()
    with pytest.raises(NotFound):
        images.remove_image(transaction, blobs(), image_id)
    with transaction() as session:  # one that found the image before it was hidden
        items.lock_items_of_image(session, image_id)
        session.execute(text("DELETE FROM image"))
    run()
    assert count(job_id) == {"status": "succeeded", "total": 1, "pending": 0, "indexed": 1, "cancelled": 0}


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
