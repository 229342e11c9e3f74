"""Uploads that are stored together: each gets its own answer, whatever becomes of the others."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from structlog.contextvars import bound_contextvars

from api.decoding import looked_at
from tests.images import image_bytes
from tests.integration.scene import Silent
from tests.processes import eventually
from umbel.base.blobs import Blobs
from umbel.base.database import transaction
from umbel.base.errors import Conflict, InvalidInput, NotFound, QuotaExceeded, StorageFull
from umbel.base.types import Queue
from umbel.gallery import blob_cleanups, quotas, upload
from umbel.gallery.collections import upsert_collection
from umbel.gallery.upload import Accepted, Upload, Uploader
from umbel.imports.imports import open_import
from umbel.jobs import claims, jobs
from umbel.jobs.jobs import NewUpload
from umbel.jobs.settling import settle
from umbel.operations import job_actions

pytestmark = pytest.mark.usefixtures("database")

Together = Callable[..., list[Accepted | Exception]]


@pytest.fixture
def together(blobs: Blobs) -> Together:
    """Send uploads so that all of them have come before the first is taken in; their answers, in order."""

    def send(*sent: Upload, store: Blobs = blobs) -> list[Accepted | Exception]:
        ours = Uploader(transaction, store, looked_at)

        def one(number: int) -> Accepted | Exception:
            with bound_contextvars(request_id=f"request {number}"):
                try:
                    return ours.add_image(sent[number])
                except Exception as error:
                    return error

        with ThreadPoolExecutor(len(sent)) as pool:
            with ours._lock:
                coming = [pool.submit(one, number) for number in range(len(sent))]
                eventually(lambda: len(ours._waiting) == len(sent))
            return [each.result() for each in coming]

    return send


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many uploads each transaction for several took in."""
    sizes: list[int] = []
    insert = jobs.insert_uploads

    def counted(session: Session, uploads: list[NewUpload]) -> dict[UUID, UUID]:
        sizes.append(len(uploads))
        return insert(session, uploads)

    monkeypatch.setattr(jobs, "insert_uploads", counted)
    return sizes


def accepted(answers: list[Accepted | Exception]) -> list[Accepted]:
    assert all(isinstance(answer, Accepted) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Accepted)]


def rows(statement: str) -> list[tuple[object, ...]]:
    with transaction() as session:
        return [tuple(row) for row in session.execute(text(statement))]


def test_what_comes_together_is_taken_in_by_one_transaction(
    together: Together, batches: list[int], blobs: Blobs
) -> None:
    sent = [Upload(image_bytes(n), name=f"{n}.jpg", label=f"l{n}", metadata={"n": n}) for n in range(6)]
    answers = accepted(together(*sent))
    assert batches == [6]
    assert len({answer.job_id for answer in answers}) == 6
    stored = """
        SELECT i.id, job_id, i.name, i.label, i.metadata, i.width, queue, state, type, job.status, job.request_id
        FROM job_item JOIN image i ON i.id = image_id JOIN job ON job.id = job_id ORDER BY i.name
    """
    assert rows(stored) == [
        (
            answer.image_id, answer.job_id, f"{n}.jpg", f"l{n}", {"n": n}, 96, "single", "pending", "upload", "queued",
            f"request {n}",
        )
        for n, answer in enumerate(answers)
    ]  # fmt: skip
    assert [blobs.get(key) for (key,) in rows("SELECT blob_key FROM image ORDER BY name")] == [s.data for s in sent]
    assert rows("SELECT count(*) FROM pending_blob_cleanup") == [(0,)]


def test_the_same_bytes_twice_are_one_image_and_one_job(together: Together) -> None:
    answers = accepted(together(Upload(image_bytes(1)), Upload(image_bytes(2)), Upload(image_bytes(1))))
    assert sorted(answer.duplicate for answer in answers) == [False, False, True]
    assert (answers[0].image_id, answers[0].job_id) == (answers[2].image_id, answers[2].job_id)


def test_the_same_bytes_for_two_collections_are_two_images(together: Together, batches: list[int]) -> None:
    one, other = accepted(together(Upload(image_bytes(1)), Upload(image_bytes(1), "garden")))
    assert (batches, one.image_id == other.image_id) == ([2], False)


def test_a_large_picture_waits_for_no_group(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "LARGE", len(image_bytes(1)) - 1)
    ours = Uploader(transaction, blobs, looked_at)
    with ThreadPoolExecutor(1) as pool, ours._lock:
        assert not pool.submit(ours.add_image, Upload(image_bytes(1))).result(30).duplicate


def test_a_request_that_is_repeated_is_answered_as_the_first(together: Together, batches: list[int]) -> None:
    sent = [Upload(image_bytes(n), idempotency_key=f"k{n}") for n in range(3)]
    first = accepted(together(*sent))
    assert batches == [3]
    assert accepted(together(*sent)) == first


def test_a_key_that_comes_twice_at_once_is_good_for_one(together: Together) -> None:
    answers = together(*(Upload(image_bytes(n), idempotency_key="one") for n in range(3)), Upload(image_bytes(9)))
    kinds = sorted(type(answer).__name__ for answer in answers)
    assert kinds == ["Accepted", "Accepted", "IdempotencyKeyReused", "IdempotencyKeyReused"]
    assert rows("SELECT count(*) FROM image") == [(2,)]


def test_bytes_that_the_collection_has_lead_to_their_job(together: Together) -> None:
    [first] = accepted(together(Upload(image_bytes(1))))
    again, new = accepted(together(Upload(image_bytes(1)), Upload(image_bytes(2))))
    assert again == Accepted(first.image_id, first.job_id, duplicate=True)
    assert not new.duplicate


def test_a_quota_is_kept_and_refuses_nobody_else(together: Together) -> None:
    with transaction() as session:
        upsert_collection(session, "garden")
        quotas.set_quota(session, "garden", {"max_images": 2})
    answers = together(*(Upload(image_bytes(n), "garden") for n in range(4)), Upload(image_bytes(9)))
    assert sum(isinstance(answer, QuotaExceeded) for answer in answers[:4]) == 2
    assert isinstance(answers[4], Accepted)


def test_a_file_that_cannot_be_written_is_the_trouble_of_its_sender_alone(together: Together, blobs: Blobs) -> None:
    class Picky(Blobs):
        def put(self, key: str, data: bytes) -> None:
            if data == image_bytes(1):
                raise StorageFull("No room for that one.")
            super().put(key, data)

    first, second, third = together(*(Upload(image_bytes(n)) for n in range(3)), store=Picky(blobs.folder.as_uri()))  # type: ignore[union-attr]
    assert isinstance(second, StorageFull)
    assert len(accepted([first, third])) == 2
    assert rows("SELECT count(*) FROM image") == [(2,)]


NESTED: dict[str, object] = {}
for _ in range(20_000):
    NESTED = {"a": NESTED}


@pytest.mark.parametrize(
    ("strange", "error"),
    [
        ({"name": "a\0b"}, InvalidInput),
        ({"metadata": {"a": "\0"}}, InvalidInput),
        ({"metadata": NESTED}, RecursionError),
        ({"label": "\ud800"}, UnicodeError),
        ({"job_id": uuid4()}, NotFound),
        ({"collection": "no name"}, IntegrityError),
    ],
)
def test_what_postgres_does_not_take_is_the_trouble_of_its_sender_alone(
    together: Together, strange: dict[str, Any], error: type[Exception]
) -> None:
    answers = together(Upload(image_bytes(1)), Upload(image_bytes(2), **strange), Upload(image_bytes(3)))
    assert isinstance(answers[1], error)
    assert [answer.duplicate for answer in accepted([answers[0], answers[2]])] == [False, False]
    assert rows("SELECT count(*) FROM image") == [(2,)]


def test_new_collections_are_made_on_the_way(together: Together, batches: list[int]) -> None:
    answers = accepted(together(*(Upload(image_bytes(n), f"new-{n % 2}") for n in range(4))))
    assert (batches, len({answer.image_id for answer in answers})) == ([4], 4)


def test_pictures_for_an_import_are_its_own(together: Together, batches: list[int]) -> None:
    job_id = opened()
    answers = accepted(together(*(Upload(image_bytes(n), job_id=job_id) for n in range(3)), Upload(image_bytes(9))))
    assert batches == [4]
    assert [answer.job_id for answer in answers[:3]] == [job_id] * 3
    assert rows("SELECT queue FROM job_item ORDER BY queue") == [("bulk",)] * 3 + [("single",)]
    with transaction() as session:
        assert jobs.get_job(session, job_id).pending == 3


def test_pictures_for_a_paused_import_are_not_claimed_until_it_is_resumed(together: Together) -> None:
    job_id = opened()
    job_actions.pause_job(transaction, job_id)
    accepted(together(Upload(image_bytes(1), job_id=job_id), Upload(image_bytes(2))))
    assert (claimed(Queue.BULK), claimed(Queue.SINGLE)) == (0, 1)
    settle(transaction, job_id, seconds=10)  # as the sweep does
    assert (rows("SELECT paused FROM job_item WHERE queue = 'bulk'"), claimed(Queue.BULK)) == ([(True,)], 0)
    job_actions.resume_job(transaction, Silent(), job_id)  # type: ignore[arg-type]
    assert claimed(Queue.BULK) == 1


def claimed(queue: Queue) -> int:
    with transaction() as session:
        return len(claims.claim_items(session, queue, owner="me", limit=9, lease_seconds=60))


def test_a_closed_import_refuses_its_pictures_and_no_others(together: Together) -> None:
    job_id = opened()
    with transaction() as session:
        jobs.close_job(session, job_id)
    rejected, taken = together(Upload(image_bytes(1), job_id=job_id), Upload(image_bytes(2)))
    assert isinstance(rejected, Conflict)
    assert isinstance(taken, Accepted)


def test_a_cleanup_that_the_sweep_took_meanwhile_makes_them_come_one_by_one(
    together: Together, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = blob_cleanups.take_cleanups

    def late(session: object, notes: list[UUID]) -> None:
        with transaction() as other:
            other.execute(text("DELETE FROM pending_blob_cleanup"))
        monkeypatch.setattr(blob_cleanups, "take_cleanups", take)
        take(session, notes)  # type: ignore[arg-type]

    monkeypatch.setattr(blob_cleanups, "take_cleanups", late)
    assert not any(answer.duplicate for answer in accepted(together(*(Upload(image_bytes(n)) for n in range(3)))))
    assert batches == [1, 1, 1]


def opened() -> UUID:
    with transaction() as session:
        return open_import(session, "default")
