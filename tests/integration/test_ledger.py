"""The ledger adds up, whatever is done to it and in what order."""

from contextlib import nullcontext
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tests.examples import examples
from tests.integration.factory import Factory
from tests.integration.plans import empty_tables
from umbel.base.errors import NotFound
from umbel.base.types import ItemState, JobType, Queue
from umbel.jobs import claims, items, jobs, settling
from umbel.operations import maintenance

CLAIM = {"owner": "me", "limit": 4, "lease_seconds": 60}
AGAIN = {**CLAIM, "max_attempts": 3}


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


def ask(session: Session, job_id: UUID, **values: bool) -> int:
    """Have all of a job cancelled, tried again, paused or let go. Returns how many items followed."""
    jobs.change_job(session, job_id, settling=True, **values)
    return settling.settle(lambda: nullcontext(session), job_id, seconds=10)


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
    claims.claim_items(session, Queue.SINGLE, **CLAIM)
    assert status(session, job) == "running"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["indexed", "indexed"], "succeeded"),
        (["indexed", "duplicate"], "succeeded"),
        (["indexed", "failed"], "partial"),
        (["failed", "failed"], "failed"),
        (["indexed", "cancelled"], "succeeded"),
        (["failed", "cancelled"], "failed"),
        (["cancelled", "cancelled"], "cancelled"),
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
    job = make.job(job_type=JobType.IMPORT, closed=False)
    make.item(job, state=ItemState.INDEXED)
    before = status(session, job)
    jobs.close_job(session, job)
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


class History:
    """One job, and everything that may happen to its items, by name."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.make = Factory(session)
        self.job = self.make.job(job_type=JobType.IMPORT, closed=False)
        self.claimed: list[claims.ClaimedItem] = []

    def add(self) -> None:
        self.make.item(self.job)

    def add_bulk(self) -> None:
        self.make.item(self.job, queue=Queue.BULK)

    def claim(self) -> None:
        for queue in (Queue.SINGLE, Queue.BULK):
            self.claimed += claims.claim_items(self.session, queue, **CLAIM)

    def claim_again(self) -> None:
        self.claimed += claims.claim_again(self.session, Queue.SINGLE, **AGAIN)

    def finish(self) -> None:
        items.finish_items(self.session, [item.id for item in self.claimed[:2]], ItemState.INDEXED)

    def fail(self) -> None:
        items.fail_items(self.session, {item.id: ("broken", "It is broken.") for item in self.claimed[-2:]})

    def release(self) -> None:
        claims.release_items(self.session, [item.id for item in self.claimed], owner="me", delay_seconds=0)

    def expire(self) -> None:
        expire_leases(self.session)

    def exhaust(self) -> None:
        expire_leases(self.session)
        claims.fail_exhausted_items(self.session, 2)

    def cancel(self) -> None:
        ask(self.session, self.job, cancelling=True)

    def hold(self) -> None:
        ask(self.session, self.job, paused=True)

    def let_go(self) -> None:
        ask(self.session, self.job, paused=False)

    def retry(self) -> None:
        ask(self.session, self.job, cancelling=False, retrying=True)

    def delete_image(self) -> None:
        for item in self.claimed[:1]:
            items.lock_items_of_image(self.session, item.image_id)
            self.session.execute(text("DELETE FROM image WHERE id = :id"), {"id": item.image_id})


ACTIONS = [name for name in vars(History) if not name.startswith("_")]


@examples(40)
@given(st.lists(st.sampled_from(ACTIONS), max_size=25))
def test_counts_equal_a_recount_after_any_history(session: Session, actions: list[str]) -> None:
    with session.begin_nested() as savepoint:
        history = History(session)
        for action in actions:
            getattr(history, action)()
            assert counts(session, history.job) == recount(session, history.job)
        savepoint.rollback()


def test_single_uploads_are_claimed_as_one_batch_oldest_first(session: Session, make: Factory) -> None:
    queued = [make.item(make.job()) for _ in range(6)]
    claimed = claims.claim_items(session, Queue.SINGLE, **CLAIM)
    assert [item.id for item in claimed] == queued[:4]


def test_a_claimed_item_is_not_claimed_again_before_its_lease_ends(session: Session, make: Factory) -> None:
    make.item(make.job())
    claims.claim_items(session, Queue.SINGLE, **CLAIM)
    again = claims.claim_again(session, Queue.SINGLE, **AGAIN)
    expire_leases(session)
    after = claims.claim_again(session, Queue.SINGLE, **AGAIN)
    assert (again, [item.attempts for item in after]) == ([], [2])


def test_a_batch_that_was_left_behind_is_bisected_until_each_is_alone(session: Session, make: Factory) -> None:
    for _ in range(16):
        make.item(make.job())
    large = {"owner": "me", "limit": 16, "lease_seconds": 60}
    sizes = [len(claims.claim_items(session, Queue.SINGLE, **large))]
    for _ in range(2):
        expire_leases(session)
        sizes.append(len(claims.claim_again(session, Queue.SINGLE, **large, max_attempts=3)))
    for _ in range(7):
        claims.claim_again(session, Queue.SINGLE, **large, max_attempts=3)
    expire_leases(session)
    sizes.append(len(claims.claim_again(session, Queue.SINGLE, **large, max_attempts=3)))
    assert sizes == [16, 2, 2, 1]


def test_what_was_left_behind_is_not_claimed_among_the_fresh(session: Session, make: Factory) -> None:
    left, fresh = make.item(make.job()), make.item(make.job())
    claims.claim_items(session, Queue.SINGLE, owner="me", limit=1, lease_seconds=60)
    expire_leases(session)
    claimed = (
        claims.claim_items(session, Queue.SINGLE, **CLAIM),
        claims.claim_again(session, Queue.SINGLE, **AGAIN),
    )
    assert [[item.id for item in batch] for batch in claimed] == [[fresh], [left]]


def test_an_item_that_is_never_answered_fails_as_poison(session: Session, make: Factory) -> None:
    job = make.job()
    make.item(job)
    claims.claim_items(session, Queue.SINGLE, **CLAIM)
    for _ in range(2):
        expire_leases(session)
        claims.claim_again(session, Queue.SINGLE, **AGAIN)
    expire_leases(session)
    claims.fail_exhausted_items(session, 3)
    assert [item.error_code for item in items.list_items(session, job, state=None, after=None, limit=9)] == ["poison"]


def test_a_worker_that_starts_again_frees_the_leases_of_its_former_self(session: Session, make: Factory) -> None:
    make.item(make.job())
    claims.claim_items(session, Queue.SINGLE, **CLAIM)
    freed = claims.release_items_of(session, "me"), claims.release_items_of(session, "another")
    assert (freed, len(claims.claim_again(session, Queue.SINGLE, **AGAIN))) == ((1, 0), 1)


def test_releasing_takes_the_attempt_back(session: Session, make: Factory) -> None:
    make.item(make.job())
    claimed = claims.claim_items(session, Queue.SINGLE, **CLAIM)
    claims.release_items(session, [claimed[0].id], owner="me", delay_seconds=0)
    expire_leases(session)
    assert claims.claim_items(session, Queue.SINGLE, **CLAIM)[0].attempts == 1


def test_what_another_has_claimed_since_is_not_released(session: Session, make: Factory) -> None:
    make.item(make.job())
    [first] = claims.claim_items(session, Queue.SINGLE, **CLAIM)
    expire_leases(session)
    claims.claim_again(session, Queue.SINGLE, **{**AGAIN, "owner": "another"})
    claims.release_items(session, [first.id], owner="me", delay_seconds=0)
    held = session.execute(text("SELECT lease_owner, attempts FROM job_item WHERE id = :id"), {"id": first.id}).one()
    assert held == ("another", 2)


def test_an_item_finished_by_another_is_not_finished_twice(session: Session, make: Factory) -> None:
    item = make.item(make.job())
    first = items.finish_items(session, [item], ItemState.INDEXED)
    second = items.finish_items(session, [item], ItemState.INDEXED)
    assert (list(first), second) == ([item], {})


def test_waiting_lanes_are_those_anyone_could_claim_from(session: Session, make: Factory) -> None:
    make.item(make.job(), queue=Queue.BULK)
    before = maintenance.list_waiting_queues(session)
    claims.claim_items(session, Queue.BULK, **CLAIM)
    assert (before, maintenance.list_waiting_queues(session)) == ([Queue.BULK], [])


def test_an_import_that_nobody_feeds_is_sealed(session: Session, make: Factory) -> None:
    job = make.job(job_type=JobType.IMPORT, closed=False)
    young = jobs.close_abandoned_jobs(session, 600)
    old = jobs.close_abandoned_jobs(session, -1)
    assert (young, old, status(session, job)) == (0, 1, "succeeded")


def test_an_unknown_job_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        jobs.get_job(session, uuid4())


def test_held_items_are_not_claimed_until_they_are_let_go(session: Session, make: Factory) -> None:
    job = make.job()
    make.item(job)
    ask(session, job, paused=True)
    held = claims.claim_items(session, Queue.SINGLE, **CLAIM), maintenance.list_waiting_queues(session)
    ask(session, job, paused=False)
    assert (held, len(claims.claim_items(session, Queue.SINGLE, **CLAIM))) == (([], []), 1)


def test_cancelling_ends_what_is_pending_and_nothing_else(session: Session, make: Factory) -> None:
    job = make.job()
    for state in (ItemState.INDEXED, ItemState.FAILED, ItemState.PENDING, ItemState.PENDING):
        make.item(job, state=state)
    cancelled = ask(session, job, cancelling=True)
    assert (cancelled, counts(session, job)["cancelled"], counts(session, job)["pending"]) == (2, 2, 0)


def test_an_item_cancelled_in_the_hands_of_a_worker_is_not_finished(session: Session, make: Factory) -> None:
    job = make.job()
    make.item(job)
    (claimed,) = claims.claim_items(session, Queue.SINGLE, **CLAIM)
    ask(session, job, cancelling=True)
    assert items.finish_items(session, [claimed.id], ItemState.INDEXED) == {}


def test_a_retry_brings_back_what_failed_with_all_its_attempts(session: Session, make: Factory) -> None:
    job = make.job()
    failed, done = make.item(job, state=ItemState.FAILED), make.item(job, state=ItemState.INDEXED)
    retried = ask(session, job, retrying=True)
    (claimed,) = claims.claim_items(session, Queue.SINGLE, **CLAIM)
    assert (retried, claimed.id, claimed.attempts, done != failed) == (1, failed, 1, True)


def test_refused_bytes_were_not_kept_so_there_is_nothing_to_retry(session: Session, make: Factory) -> None:
    job = make.job()
    items.insert_item(
        session, job, image_id=None, queue=Queue.BULK, name=None, state=ItemState.FAILED, error=("empty_file", "Empty.")
    )
    assert not settling.can_be_retried(session, job)
    assert ask(session, job, retrying=True) == 0


@pytest.mark.parametrize(("error", "indexed", "expected"), [("cut", 1, "partial"), ("cut", 0, "failed")])
def test_a_source_that_broke_off_shows_in_the_status(
    session: Session, make: Factory, error: str, indexed: int, expected: str
) -> None:
    job = make.job(job_type=JobType.IMPORT)
    for _ in range(indexed):
        make.item(job, state=ItemState.INDEXED)
    jobs.change_job(session, job, error=error)
    assert status(session, job) == expected


def test_a_job_is_not_finished_while_its_index_is_missing(session: Session, make: Factory) -> None:
    version = make.version()
    job = make.job(job_type=JobType.IMPORT)
    make.item(job, state=ItemState.INDEXED)
    jobs.change_job(session, job, indexing=True)
    before = status(session, job)
    jobs.end_indexing(session, version.id)
    assert (before, status(session, job)) == ("running", "succeeded")


def test_the_newest_item_of_an_image_is_found_by_its_index_before_postgres_knows_the_table(
    session: Session, make: Factory
) -> None:
    empty_tables(session)
    job, image = make.job(), make.image()
    for _ in range(300):
        make.item(job)
    newest = "SELECT state FROM job_item WHERE image_id = :image AND state <> 'duplicate' ORDER BY id DESC LIMIT 1"
    plan = "\n".join(session.scalars(text(f"EXPLAIN {newest}"), {"image": image}))
    assert "Index Scan Backward using job_item_by_image" in plan


def test_an_image_that_is_deleted_does_not_make_its_job_a_cancelled_one(session: Session, make: Factory) -> None:
    job = make.job()
    pending, failed, *indexed = [make.item(job) for _ in range(4)]
    items.finish_items(session, indexed, ItemState.INDEXED)
    items.fail_items(session, {failed: ("broken", "It is broken.")})
    session.execute(
        text("DELETE FROM image WHERE id = (SELECT image_id FROM job_item WHERE id = :id)"), {"id": pending}
    )
    assert (status(session, job), counts(session, job)["cancelled"]) == ("partial", 1)


def test_a_cancelled_job_stays_so_when_what_failed_before_is_tried_again(session: Session, make: Factory) -> None:
    job = make.job()
    failed = make.item(job)
    make.item(job)
    items.fail_items(session, {failed: ("broken", "It is broken.")})
    ask(session, job, cancelling=True)
    ask(session, job, cancelling=False, retrying=True)
    items.finish_items(session, [failed], ItemState.INDEXED)
    assert (status(session, job), counts(session, job)["indexed"]) == ("cancelled", 1)


def test_a_job_that_ends_while_it_is_being_paused_is_not_paused(session: Session, make: Factory) -> None:
    job = make.job()
    last = make.item(job)
    claims.claim_items(session, Queue.SINGLE, **CLAIM)
    ask(session, job, paused=True)
    items.finish_items(session, [last], ItemState.INDEXED)
    assert (status(session, job), jobs.get_job(session, job).paused) == ("succeeded", False)
