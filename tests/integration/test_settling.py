"""What is asked of a whole job reaches its items batch by batch, and holds from the first moment on."""

from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.integration.factory import Factory
from tests.integration.scene import Silent
from umbel.base.database import transaction
from umbel.base.errors import Conflict
from umbel.base.types import ItemState, JobType, Queue
from umbel.jobs import claims, jobs, positions, settling
from umbel.jobs.positions import Positions
from umbel.jobs.settling import SettlingHandler, settle
from umbel.operations import job_actions

pytestmark = pytest.mark.usefixtures("database")
ITEMS = 7


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request ends after its first batch, of three items."""
    monkeypatch.setattr(settling, "BATCH", 3)
    monkeypatch.setattr(job_actions, "AT_ONCE_SECONDS", 0)


def job_of(state: ItemState = ItemState.PENDING, *, start: int = 0) -> UUID:
    with transaction() as session:
        make = Factory(session, start=start)
        job_id = make.job(job_type=JobType.IMPORT, closed=True)
        for _ in range(ITEMS):
            make.item(job_id, queue=Queue.BULK, state=state)
    return job_id


def claimed(limit: int = 9) -> list[UUID]:
    with transaction() as session:
        taken = claims.claim_items(session, Queue.BULK, owner="me", limit=limit, lease_seconds=60)
    return [item.id for item in taken]


def counts(job_id: UUID) -> tuple[int, int, int]:
    with transaction() as session:
        job = jobs.get_job(session, job_id)
        return job.pending, job.failed, job.cancelled


def finish() -> None:
    """As a worker does at its next sweep."""
    SettlingHandler(transaction=transaction).run()


def test_a_cancelled_job_is_cancelled_batch_by_batch_and_nothing_of_it_is_begun(redis: object) -> None:
    job_id, other = job_of(), job_of(start=50)
    job_actions.cancel_job(transaction, job_id)
    assert counts(job_id) == (4, 0, 3)
    with transaction() as session:
        ours = set(session.scalars(text("SELECT id FROM job_item WHERE job_id = :id"), {"id": other}))
    assert set(claimed(20)) == ours
    with pytest.raises(Conflict, match="is being cancelled"):
        job_actions.pause_job(transaction, job_id)
    finish()
    assert counts(job_id) == (0, 0, 7)
    with transaction() as session:
        assert not settling.list_unsettled_jobs(session)


def test_a_job_that_is_tried_again_has_not_finished_before_all_are_back(redis: object) -> None:
    job_id = job_of(ItemState.FAILED)
    job_actions.retry_job(transaction, Silent(), job_id)  # type: ignore[arg-type]
    assert counts(job_id)[0] > 0
    assert claimed() == []  # or the first could have ended, and the job with it, before the last are back
    job_actions.retry_job(transaction, Silent(), job_id)  # type: ignore[arg-type]
    finish()
    with transaction() as session:
        job = jobs.get_job(session, job_id)
    assert (job.pending, job.failed, job.attempts, job.retrying) == (7, 0, 2, False)
    assert len(claimed()) == ITEMS


def test_the_api_says_that_the_rest_follows(api: FlaskClient) -> None:
    job_id = job_of()
    begun = api.post(f"/v1/jobs/{job_id}/cancel")
    assert (begun.status_code, begun.get_json()["phase"]) == (202, "cancelling")
    assert begun.get_json()["counts"]["cancelled"] == 3
    finish()
    done = api.post(f"/v1/jobs/{job_id}/cancel")
    assert (done.status_code, done.get_json()["status"]) == (200, "cancelled")


def test_what_others_have_locked_follows_when_they_let_it_go() -> None:
    job_id = job_of()
    [item] = claimed(1)
    with transaction() as session:
        jobs.change_job(session, job_id, cancelling=True, settling=True)
    with transaction() as storing:
        storing.execute(text("SELECT FROM job_item WHERE id = :id FOR UPDATE"), {"id": item})
        assert settle(transaction, job_id, seconds=0.3) == ITEMS - 1
    assert settle(transaction, job_id, seconds=10) == 1
    assert counts(job_id) == (0, 0, ITEMS)


def test_an_upload_that_is_on_its_way_while_a_job_is_paused_is_claimed_once_it_is_resumed() -> None:
    job_id = job_of()
    job_actions.pause_job(transaction, job_id)
    finish()
    with transaction() as uploading:
        assert jobs.lock_jobs(uploading, [job_id])[job_id].paused
        job_actions.resume_job(transaction, Silent(), job_id)  # type: ignore[arg-type]
        finish()
        Factory(uploading, start=100).item(job_id, queue=Queue.BULK)
    assert len(claimed()) == ITEMS + 1


def test_what_comes_into_a_paused_job_is_not_claimed() -> None:
    job_id = job_of()
    job_actions.pause_job(transaction, job_id)
    finish()
    with transaction() as uploading:
        Factory(uploading, start=100).item(job_id, queue=Queue.BULK)
    assert claimed() == []
    finish()
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM job_item WHERE paused")) == ITEMS + 1


def test_a_lease_is_renewed_while_the_job_is_locked() -> None:
    """Nothing that changes no count waits for the job's row."""
    job_id = job_of()
    [item] = claimed(1)
    with transaction() as other:
        other.execute(text("SELECT FROM job WHERE id = :id FOR UPDATE"), {"id": job_id})
        with transaction() as session:
            session.execute(text("SET LOCAL lock_timeout = '100ms'"))
            claims.renew_leases(session, [item], owner="me", lease_seconds=60)
        with transaction() as session:
            session.execute(text("SET LOCAL lock_timeout = '100ms'"))
            assert claims.claim_items(session, Queue.BULK, owner="me", limit=2, lease_seconds=60)


def test_claims_that_come_past_many_dead_rows_begin_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    job_of()
    place = Positions()

    def claim(limit: int) -> list[UUID]:
        with transaction() as session:
            taken = claims.claim_items(session, Queue.BULK, owner="me", limit=limit, lease_seconds=60, positions=place)
            return [item.id for item in taken]

    first = claim(3)
    with transaction() as session:
        claims.release_items(session, first[:1], owner="me", delay_seconds=-1)
        session.execute(text("UPDATE job_item SET retries = 0 WHERE id = :id"), {"id": first[0]})
    assert claim(1) == first[:1]  # claims from the first on are quick, so each is one
    monkeypatch.setattr(positions, "QUICK_SECONDS", -1.0)
    monkeypatch.setattr(positions, "SHARE", 10**9)
    second = claim(1)
    with transaction() as session:
        session.execute(text("UPDATE job_item SET attempts = 0, lease_until = NULL WHERE id = :id"), {"id": first[0]})
    assert first[0] not in claim(1) + claim(1) + second
