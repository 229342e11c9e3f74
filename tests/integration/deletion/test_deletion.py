"""Deleting collections: nothing is left and nothing else is touched."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, text

from api.decoding import decoders
from stack.redis import Redis
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
from tests.integration.scene import compare, comparison_line, version
from umbel.base.blobs import blobs
from umbel.base.database import engine, transaction
from umbel.base.errors import Conflict, NotFound
from umbel.base.settings import settings
from umbel.base.types import Queue
from umbel.embedding import embeddings
from umbel.gallery import blob_cleanups, collections, images
from umbel.gallery.renditions import PICTURE, THUMBNAIL, Renditions
from umbel.imports.imports import open_import
from umbel.insights import signatures
from umbel.jobs.idempotency import KeyedRequest
from umbel.jobs.wakeup import waker
from umbel.operations import job_actions, maintenance

pytestmark = pytest.mark.usefixtures("database")


def test_nothing_is_left_of_a_deleted_collection() -> None:
    version(), version()
    with comparison_line() as line:
        accepted = [upload(seed) for seed in range(5)]
        embed()
        compare(line, collection="garden")
    with transaction() as session:
        image = images.get_image(session, accepted[0].image_id)
        signatures.insert_signatures(session, {image.id: None}, {image.id: image.blob_key})
    for each in (PICTURE, THUMBNAIL):
        Renditions(transaction, blobs(), decoders).open(image, each).close()
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
    for each in (PICTURE, THUMBNAIL):
        Renditions(transaction, blobs(), decoders).open(image, each).close()
    run()
    assert stored() == sorted(
        [image.blob_key, *(blob_cleanups.rendition_key(image.blob_key, each.folder) for each in (PICTURE, THUMBNAIL))]
    )
    assert (blobs().get(image.blob_key), amiss()) == (image_bytes(1), {})


@pytest.mark.parametrize("gone", [False, True])
def test_an_idempotency_key_may_be_used_again(gone: bool) -> None:
    first = upload(1, idempotency_key="key")
    delete()
    if gone:
        run()
    again, repeated = upload(2, idempotency_key="key"), upload(2, idempotency_key="key")
    assert (again.image_id != first.image_id, again) == (True, repeated)


@pytest.mark.parametrize("gone", [False, True])
def test_an_idempotency_key_of_an_import_may_be_used_again(gone: bool) -> None:
    request = KeyedRequest("key", b"what")
    with transaction() as session:
        first = open_import(session, "garden", request=request)
    delete()
    if gone:
        run()
    with transaction() as session:
        again, repeated = (open_import(session, "garden", request=request) for _ in range(2))
    assert (again != first, again) == (True, repeated)


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
    assert maintenance.sweep(transaction, waker(), settings()) == [Queue.DELETE, Queue.EVENTS]
    assert (count(job_id)["status"], amiss()) == ("queued", {})


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
