"""The ledger adds up, whatever is done to it and in what order."""

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import NotFound
from core.types import ItemState, JobType, Lane
from db import items, jobs
from tests.integration.factory import Factory

CLAIM = {"owner": "me", "limit": 4, "lease_seconds": 60, "max_attempts": 3}


def counts(session: Session, job_id: object) -> dict[str, int]:
    row = session.execute(
        text("SELECT total, pending, indexed, duplicate, failed, cancelled FROM job WHERE id = :id"), {"id": job_id}
    ).one()
    return dict(row._mapping)


def recount(session: Session, job_id: object) -> dict[str, int]:
    found = {str(state): 0 for state in ItemState}
    rows = session.execute(
        text("SELECT state, count(*) FROM job_item WHERE job_id = :id GROUP BY state"), {"id": job_id}
    )
    found.update({row[0]: row[1] for row in rows})
    return {"total": sum(found.values()), **found}


def status(session: Session, job_id: object) -> str:
    return session.execute(text("SELECT status FROM job WHERE id = :id"), {"id": job_id}).scalar_one()


def expire_leases(session: Session) -> None:
    session.execute(text("UPDATE job_item SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL"))


def test_a_new_job_is_queued_and_counts_its_items(session: Session, make: Factory) -> None:
    job = make.job()
    make.item(job)
    make.item(job)
    assert (status(session, job), counts(session, job)["pending"]) == ("queued", 2)


def test_claiming_starts_the_job(session: Session, make: Factory) -> None:
    job = make.job()
    make.item(job)
    items.claim_items(session, Lane.SINGLE, **CLAIM)
    assert status(session, job) == "running"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["indexed", "indexed"], "succeeded"),
        (["indexed", "duplicate"], "succeeded"),
        (["indexed", "failed"], "partial"),
        (["failed", "failed"], "failed"),
        (["indexed", "cancelled"], "cancelled"),
        (["pending", "indexed"], "running"),
        ([], "succeeded"),
    ],
)
def test_status_follows_from_the_items(session: Session, make: Factory, states: list[str], expected: str) -> None:
    job = make.job()
    for state in states:
        make.item(job, state=ItemState(state))
    assert status(session, job) == expected


def test_an_open_import_is_not_finished_until_it_is_sealed(session: Session, make: Factory) -> None:
    job = make.job(job_type=JobType.IMPORT, sealed=False)
    make.item(job, state=ItemState.INDEXED)
    before = status(session, job)
    jobs.seal_job(session, job)
    assert (before, status(session, job)) == ("running", "succeeded")


def test_finished_at_comes_with_the_last_item_and_goes_with_a_retry(session: Session, make: Factory) -> None:
    job = make.job()
    item = make.item(job, state=ItemState.FAILED)
    finished = session.execute(text("SELECT finished_at FROM job")).scalar_one()
    session.execute(text("UPDATE job_item SET state = 'pending', error_code = NULL WHERE id = :id"), {"id": item})
    assert finished is not None
    assert session.execute(text("SELECT finished_at FROM job")).scalar_one() is None


def test_counts_that_do_not_add_up_are_refused_by_the_database(session: Session, make: Factory) -> None:
    job = make.job()
    with pytest.raises(IntegrityError, match="counts_add_up"), session.begin_nested():
        session.execute(text("UPDATE job SET indexed = indexed + 1 WHERE id = :id"), {"id": job})


ACTIONS = st.lists(
    st.sampled_from(["add", "add_bulk", "claim", "finish", "fail", "release", "expire", "exhaust", "delete_image"]),
    max_size=25,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTIONS)
def test_counts_equal_a_recount_after_any_history(session: Session, actions: list[str]) -> None:
    with session.begin_nested() as history:
        make = Factory(session)
        job = make.job(job_type=JobType.IMPORT, sealed=False)
        claimed: list[items.ClaimedItem] = []
        for action in actions:
            match action:
                case "add" | "add_bulk":
                    make.item(job, lane=Lane.BULK if action == "add_bulk" else Lane.SINGLE)
                case "claim":
                    for lane in (Lane.SINGLE, Lane.BULK):
                        claimed += items.claim_items(session, lane, **CLAIM)
                case "finish":
                    items.finish_items(session, [item.id for item in claimed[:2]], ItemState.INDEXED)
                case "fail":
                    items.fail_items(session, {item.id: ("broken", "It is broken.") for item in claimed[-2:]})
                case "release":
                    items.release_items(session, [item.id for item in claimed], delay_seconds=0)
                case "expire":
                    expire_leases(session)
                case "exhaust":
                    expire_leases(session)
                    items.fail_exhausted_items(session, 2)
                case "delete_image" if claimed:
                    items.cancel_items_of_image(session, claimed[0].image_id)
                    session.execute(text("DELETE FROM image WHERE id = :id"), {"id": claimed[0].image_id})
            assert counts(session, job) == recount(session, job)
        history.rollback()


def test_single_uploads_are_claimed_as_one_batch_oldest_first(session: Session, make: Factory) -> None:
    queued = [make.item(make.job()) for _ in range(6)]
    claimed = items.claim_items(session, Lane.SINGLE, **CLAIM)
    assert [item.id for item in claimed] == queued[:4]


def test_a_claimed_item_is_not_claimed_again_before_its_lease_ends(session: Session, make: Factory) -> None:
    make.item(make.job())
    items.claim_items(session, Lane.SINGLE, **CLAIM)
    again = items.claim_items(session, Lane.SINGLE, **CLAIM)
    expire_leases(session)
    after = items.claim_items(session, Lane.SINGLE, **CLAIM)
    assert (again, [item.attempts for item in after]) == ([], [2])


def test_items_that_were_left_behind_are_claimed_one_at_a_time(session: Session, make: Factory) -> None:
    for _ in range(3):
        make.item(make.job())
    items.claim_items(session, Lane.SINGLE, **CLAIM)
    expire_leases(session)
    assert len(items.claim_items(session, Lane.SINGLE, **CLAIM)) == 1


def test_an_item_that_is_never_answered_fails_as_poison(session: Session, make: Factory) -> None:
    job = make.job()
    make.item(job)
    for _ in range(3):
        items.claim_items(session, Lane.SINGLE, **CLAIM)
        expire_leases(session)
    items.fail_exhausted_items(session, 3)
    assert [item.error_code for item in items.list_items(session, job, state=None, after=None, limit=9)] == ["poison"]


def test_a_worker_that_starts_again_frees_the_leases_of_its_former_self(session: Session, make: Factory) -> None:
    make.item(make.job())
    items.claim_items(session, Lane.SINGLE, **CLAIM)
    freed = items.release_items_of(session, "me"), items.release_items_of(session, "another")
    assert (freed, len(items.claim_items(session, Lane.SINGLE, **CLAIM))) == ((1, 0), 1)


def test_releasing_takes_the_attempt_back(session: Session, make: Factory) -> None:
    make.item(make.job())
    claimed = items.claim_items(session, Lane.SINGLE, **CLAIM)
    items.release_items(session, [claimed[0].id], delay_seconds=0)
    expire_leases(session)
    assert items.claim_items(session, Lane.SINGLE, **CLAIM)[0].attempts == 1


def test_an_item_finished_by_another_is_not_finished_twice(session: Session, make: Factory) -> None:
    item = make.item(make.job())
    first = items.finish_items(session, [item], ItemState.INDEXED)
    second = items.finish_items(session, [item], ItemState.INDEXED)
    assert (list(first), second) == ([item], {})


def test_waiting_lanes_are_those_anyone_could_claim_from(session: Session, make: Factory) -> None:
    make.item(make.job(), lane=Lane.BULK)
    before = items.list_waiting_lanes(session)
    items.claim_items(session, Lane.BULK, **CLAIM)
    assert (before, items.list_waiting_lanes(session)) == ([Lane.BULK], [])


def test_an_import_that_nobody_feeds_is_sealed(session: Session, make: Factory) -> None:
    job = make.job(job_type=JobType.IMPORT, sealed=False)
    young = jobs.seal_abandoned_jobs(session, 600)
    old = jobs.seal_abandoned_jobs(session, -1)
    assert (young, old, status(session, job)) == (0, 1, "succeeded")


def test_an_unknown_job_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        jobs.get_job(session, uuid4())
