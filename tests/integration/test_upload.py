"""Taking pictures in: nothing twice, nothing half, nothing lost."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from tests.images import image_bytes
from tests.integration.factory import Factory, unit
from tests.integration.uploads import add_image
from umbel.base.blobs import Blobs
from umbel.base.database import Transaction, engine, transaction
from umbel.base.errors import (
    BlobMissing,
    Conflict,
    IdempotencyKeyReused,
    ImageError,
    InvalidInput,
    NotFound,
    QuotaExceeded,
    StorageFull,
    TransientError,
)
from umbel.base.settings import settings
from umbel.base.types import LATER_QUEUES, ItemState, JobType, Queue
from umbel.decoding.pool import DecoderPool
from umbel.embedding import embeddings
from umbel.gallery import blob_cleanups, collections, images
from umbel.gallery.renditions import PICTURE, THUMBNAIL, Renditions
from umbel.gallery.upload import Accepted, Upload, reject_image
from umbel.jobs import items, jobs


def add(session: Session, blobs: Blobs, data: bytes, **fields: object) -> Accepted:
    return add_image(inside(session), blobs, settings(), Upload(data, **fields))  # type: ignore[arg-type]


def inside(session: Session) -> Transaction:
    """Transactions that are savepoints of the test's own."""

    @contextmanager
    def savepoint() -> Iterator[Session]:
        with session.begin_nested():
            yield session

    return savepoint


def test_an_upload_leaves_a_row_its_bytes_and_a_pending_item(session: Session, blobs: Blobs) -> None:
    accepted = add(session, blobs, image_bytes(1), label="rose", name="a.jpg", metadata={"year": 2026})
    image = images.get_image(session, accepted.image_id)
    assert (image.label, image.name, image.meta, image.width, image.height) == ("rose", "a.jpg", {"year": 2026}, 96, 64)
    assert blobs.get(image.blob_key) == image_bytes(1)
    (item,) = items.list_items(session, accepted.job_id, state=None, after=None, limit=9)
    assert (item.image_id, item.state, item.queue) == (image.id, ItemState.PENDING, Queue.SINGLE)


def test_the_same_bytes_are_a_duplicate_and_lead_to_the_first_job(session: Session, blobs: Blobs) -> None:
    first = add(session, blobs, image_bytes(1))
    second = add(session, blobs, image_bytes(1))
    assert second == Accepted(first.image_id, first.job_id, duplicate=True)


def test_the_same_bytes_in_another_collection_are_new(session: Session, blobs: Blobs) -> None:
    first = add(session, blobs, image_bytes(1))
    second = add(session, blobs, image_bytes(1), collection="other")
    assert second.image_id != first.image_id
    assert not second.duplicate


def test_bytes_whose_embedding_failed_are_tried_again(session: Session, blobs: Blobs) -> None:
    first = add(session, blobs, image_bytes(1))
    session.execute(text("UPDATE job_item SET state = 'failed', error_code = 'poison'"))
    second = add(session, blobs, image_bytes(1))
    assert (second.image_id, second.duplicate) == (first.image_id, False)
    assert second.job_id != first.job_id


def test_bytes_of_an_image_that_has_its_vector_are_known_though_no_job_tells_of_it(
    session: Session, blobs: Blobs, make: Factory
) -> None:
    version, first = make.version(), add(session, blobs, image_bytes(1))
    embeddings.upsert_embeddings(session, version.id, [(first.image_id, make.collection())], unit(1)[None])
    session.execute(text("DELETE FROM job_item"))  # as retention does, and as a restored image has none
    again = add(session, blobs, image_bytes(1))
    assert (again.image_id, again.duplicate) == (first.image_id, True)
    assert jobs.get_job(session, again.job_id).status == "succeeded"
    imported = add(session, blobs, image_bytes(1), job_id=make.job(job_type=JobType.IMPORT, closed=False))
    assert imported.duplicate
    assert set(session.scalars(text("SELECT state FROM job_item"))) == {"duplicate"}


@pytest.mark.parametrize("queue", LATER_QUEUES)
def test_later_work_on_an_image_is_not_its_embedding(
    session: Session, blobs: Blobs, make: Factory, queue: Queue
) -> None:
    first = add(session, blobs, image_bytes(1))
    items.insert_item(session, make.job(), image_id=first.image_id, queue=queue, name=None)
    assert add(session, blobs, image_bytes(1)) == Accepted(first.image_id, first.job_id, duplicate=True)
    session.execute(text("UPDATE job_item SET state = 'failed', error_code = 'poison' WHERE queue = 'single'"))
    assert not add(session, blobs, image_bytes(1)).duplicate


def test_a_duplicate_inside_an_import_is_counted_there(session: Session, blobs: Blobs, make: Factory) -> None:
    add(session, blobs, image_bytes(1))
    job = make.job(job_type=JobType.IMPORT, closed=False)
    accepted = add(session, blobs, image_bytes(1), job_id=job)
    assert accepted.job_id == job
    assert jobs.get_job(session, job).duplicate == 1


def test_a_picture_refused_in_an_import_is_a_failed_item(session: Session, make: Factory) -> None:
    job = make.job(job_type=JobType.IMPORT, closed=False)
    reject_image(session, Upload(b"", name="empty.jpg", job_id=job), ImageError("The file is empty."))
    (item,) = items.list_items(session, job, state=None, after=None, limit=9)
    assert (item.state, item.name, item.error_code) == ("failed", "empty.jpg", "bad_image")


@pytest.mark.parametrize(
    ("job_type", "collection"), [(JobType.IMPORT, "other"), (JobType.COMPARISON, "default"), (JobType.MAP, "default")]
)
def test_a_rejected_picture_is_no_item_of_a_job_that_would_not_take_it(
    session: Session, make: Factory, job_type: JobType, collection: str
) -> None:
    job = make.job(job_type=job_type, closed=False)
    reject_image(session, Upload(b"", collection=collection, job_id=job), ImageError("The file is empty."))
    assert items.list_items(session, job, state=None, after=None, limit=9) == []


def test_a_closed_import_takes_no_more(session: Session, blobs: Blobs, make: Factory) -> None:
    job = make.job(job_type=JobType.IMPORT, closed=True)
    with pytest.raises(Conflict):
        add(session, blobs, image_bytes(1), job_id=job)


def test_an_import_takes_pictures_of_its_own_collection_only(session: Session, blobs: Blobs, make: Factory) -> None:
    job = make.job(job_type=JobType.IMPORT, closed=False)
    make.collection("other")
    with pytest.raises(InvalidInput):
        add(session, blobs, image_bytes(1), job_id=job, collection="other")


def test_an_unknown_import_is_not_found(session: Session, blobs: Blobs) -> None:
    with pytest.raises(NotFound):
        add(session, blobs, image_bytes(1), job_id=uuid4())


def test_a_repeated_idempotency_key_gives_the_first_answer(session: Session, blobs: Blobs) -> None:
    first = add(session, blobs, image_bytes(1), idempotency_key="k")
    assert add(session, blobs, image_bytes(1), idempotency_key="k") == first


@pytest.mark.parametrize(
    ("seed", "other"),
    [
        (2, {}),
        (1, {"collection": "other"}),
        (1, {"label": "rose"}),
        (1, {"name": "b.jpg"}),
        (1, {"metadata": {"a": 1}}),
    ],
)
def test_an_idempotency_key_is_good_for_one_request(
    session: Session, blobs: Blobs, seed: int, other: dict[str, object]
) -> None:
    add(session, blobs, image_bytes(1), idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        add(session, blobs, image_bytes(seed), idempotency_key="k", **other)


def test_a_repeated_key_gives_the_first_answer_whatever_it_was(session: Session, blobs: Blobs) -> None:
    first = add(session, blobs, image_bytes(1))
    duplicate = add(session, blobs, image_bytes(1), idempotency_key="k")
    images.delete_images(session, [first.image_id])
    assert add(session, blobs, image_bytes(1), idempotency_key="k") == duplicate
    assert duplicate == Accepted(first.image_id, first.job_id, duplicate=True)


def test_a_repeated_key_adds_no_second_item_to_an_import(session: Session, blobs: Blobs, make: Factory) -> None:
    job = make.job(job_type=JobType.IMPORT, closed=False)
    answers = [add(session, blobs, image_bytes(1), job_id=job, idempotency_key="k") for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(items.list_items(session, job, state=None, after=None, limit=9)) == 1


def test_a_repeated_rejection_adds_no_second_item_and_what_lacked_room_may_come_again(
    session: Session, blobs: Blobs, make: Factory
) -> None:
    job = make.job(job_type=JobType.IMPORT, closed=False)
    upload = Upload(image_bytes(1), job_id=job, idempotency_key="k")
    for _ in range(2):
        reject_image(session, upload, QuotaExceeded("Full."))
    assert jobs.get_job(session, job).failed == 1
    assert not add(session, blobs, image_bytes(1), job_id=job, idempotency_key="k").duplicate
    assert (jobs.get_job(session, job).total, jobs.get_job(session, job).pending) == (2, 1)


class BrokenBlobs(Blobs):
    """A store that writes, and then fails: what it wrote stays."""

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data)
        raise StorageFull("The blob store is full.")


def sweep_cleanups(blobs: Blobs, *, seconds: float) -> None:
    with transaction() as session:
        blob_cleanups.clean_up_blobs(
            session, blobs, blob_cleanups.claim_old_cleanups(session, seconds=seconds, limit=9)
        )


@pytest.mark.usefixtures("database")
def test_a_failing_store_leaves_no_row_and_in_the_end_no_bytes(tmp_path: Path) -> None:
    blobs = BrokenBlobs(tmp_path.as_uri())
    with pytest.raises(StorageFull):
        add_image(transaction, blobs, settings(), Upload(image_bytes(1)))
    with transaction() as session:
        assert session.execute(text("SELECT count(*) FROM image")).scalar_one() == 0
    sweep_cleanups(blobs, seconds=60)
    in_doubt = list(blobs.list("pictures/"))
    sweep_cleanups(blobs, seconds=-1)
    assert (len(in_doubt), list(blobs.list("pictures/"))) == (1, [])


@pytest.mark.usefixtures("database")
def test_a_stored_picture_leaves_no_doubt(blobs: Blobs) -> None:
    add_image(transaction, blobs, settings(), Upload(image_bytes(1)))
    sweep_cleanups(blobs, seconds=-1)
    with transaction() as session:
        assert session.execute(text("SELECT count(*) FROM pending_blob_cleanup")).scalar_one() == 0
    assert len(list(blobs.list("pictures/"))) == 1


@pytest.mark.usefixtures("database")
@pytest.mark.direct
def test_a_picture_costs_six_statements_and_a_duplicate_too(blobs: Blobs) -> None:
    def cost(seed: int) -> int:
        seen: list[str] = []
        count = lambda *call: seen.append(call[2])  # noqa: E731
        event.listen(engine(), "before_cursor_execute", count)
        add_image(transaction, blobs, settings(), Upload(image_bytes(seed)))
        event.remove(engine(), "before_cursor_execute", count)
        return len(seen)

    add_image(transaction, blobs, settings(), Upload(image_bytes(1)))  # makes the collection
    assert (cost(2), cost(2)) == (6, 6)


@pytest.mark.usefixtures("database")
def test_bytes_in_doubt_that_somebody_else_has_stored_stay(blobs: Blobs) -> None:
    accepted = add_image(transaction, blobs, settings(), Upload(image_bytes(1)))
    with transaction() as session:
        key = images.get_image(session, accepted.image_id).blob_key
        blob_cleanups.insert_cleanups(session, [key])
    sweep_cleanups(blobs, seconds=-1)
    assert blobs.exists(key)


@pytest.mark.usefixtures("database")
def test_an_upload_that_the_sweep_overtook_is_not_stored(blobs: Blobs) -> None:
    with transaction() as session:
        cleanups = blob_cleanups.insert_cleanups(session, ["pictures/default/aa/aa"])
    sweep_cleanups(blobs, seconds=-1)
    with pytest.raises(TransientError), transaction() as session:
        blob_cleanups.take_cleanups(session, cleanups)


@pytest.mark.usefixtures("database")
def test_removing_an_image_removes_bytes_and_row_and_ends_its_item(blobs: Blobs, tmp_path: Path) -> None:
    accepted = add_image(transaction, blobs, settings(), Upload(image_bytes(1)))
    with transaction() as session:
        image = images.get_image(session, accepted.image_id)
    store = settings().model_copy(update={"blob_url": (tmp_path / "blobs").as_uri()})
    with DecoderPool(1, store) as decoders:
        renditions = Renditions(transaction, blobs, lambda: decoders)
        for each in (PICTURE, THUMBNAIL):
            renditions.open(image, each).close()
            assert renditions.size(image, each)
    images.remove_image(transaction, blobs, image.id)
    with transaction() as session:
        job = jobs.get_job(session, accepted.job_id)  # type: ignore[arg-type]
        assert (job.status, job.cancelled) == ("cancelled", 1)
        assert collections.describe_collection(session, "default").images == 0
    assert not blobs.exists(image.blob_key)
    assert [renditions.size(image, each) for each in (PICTURE, THUMBNAIL)] == [None, None]


def test_blobs_tell_missing_from_broken(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    with pytest.raises(BlobMissing):
        blobs.get("nothing/here")


def test_a_folder_that_cannot_grow_is_full(tmp_path: Path) -> None:

    blobs = Blobs(tmp_path.as_uri())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(StorageFull):
            blobs.put("a/b", b"more than ten bytes")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not blobs.exists("a/b")
