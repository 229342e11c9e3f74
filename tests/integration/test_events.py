"""The log of events: what is written into it, in which order it is published, and who may follow it."""

import json
import threading
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.integration.callers import assert_rejected, make_key
from tests.integration.factory import Factory, committed, unit
from umbel.access.keys import KeyScope
from umbel.base.database import engine, transaction
from umbel.base.types import EventType, ItemState, JobType
from umbel.events import log
from umbel.events.log import ALL, Event, Interest
from umbel.gallery import trash
from umbel.jobs import items, jobs
from umbel.models import lifecycle
from umbel.operations import job_actions

pytestmark = pytest.mark.usefixtures("database", "redis")


class Silent:
    def wake(self, queue: object) -> bool:
        return False


@pytest.fixture
def start() -> int:
    """The position at which the test begins."""
    publish()
    with transaction() as session:
        return log.bounds(session)[0]


def publish() -> None:
    while True:
        with transaction() as session:
            if not log.publish_events(session):
                return


def told(start: int, interest: Interest = ALL) -> list[Event]:
    publish()
    with transaction() as session:
        return log.read_events(session, interest, after=start, limit=1_000)


def types(start: int) -> list[str]:
    return [event.type for event in told(start)]


def test_a_job_and_its_images_are_told_of_in_order(start: int) -> None:
    job_id, good, bad = committed(lambda make: (job := make.job(), make.item(job), make.item(job)))
    with transaction() as session:
        session.execute(text("UPDATE job_item SET attempts = 1"))
    with transaction() as session:
        items.lock_items(session, [good, bad])
        images_of = items.finish_items(session, [good], ItemState.INDEXED)
        items.fail_items(session, {bad: ("bad_image", "It is broken.")})
    found = told(start)
    assert [event.type for event in found] == [
        "job.queued",
        "job.running",
        "image.indexed",
        "image.failed",
        "job.finished",
    ]
    assert {(event.collection, event.job_id) for event in found} == {("default", job_id)}
    assert found[2].data == {"job_id": str(job_id), "image_ids": [str(images_of[good])]}
    [failure] = found[3].data["failures"]
    assert (failure["code"], failure["error"]) == ("bad_image", "It is broken.")
    assert (found[4].data["status"], found[4].data["counts"]["indexed"], found[4].data["counts"]["failed"]) == (
        "partial",
        1,
        1,
    )
    assert [event.position for event in found] == list(range(start + 1, start + 6))


def test_pausing_resuming_and_cancelling_are_told_of(start: int) -> None:
    job_id = committed(lambda make: (job := make.job(job_type=JobType.IMPORT), make.item(job))[0])
    job_actions.pause_job(transaction, job_id)
    job_actions.resume_job(transaction, Silent(), job_id)  # type: ignore[arg-type]
    job_actions.cancel_job(transaction, job_id)
    assert types(start) == ["job.queued", "job.paused", "job.resumed", "job.cancelled"]


def test_images_changed_or_deleted_together_are_one_event_a_collection_in_parts(start: int) -> None:
    def gallery(make: Factory) -> list[UUID]:
        return [make.image(collection="a") for _ in range(201)] + [make.image(collection="b")]

    ids = committed(gallery)
    with transaction() as session:
        session.execute(text("UPDATE image SET name = 'new'"))  # which is no event
        session.execute(text("UPDATE image SET label = 'rose' WHERE id = :id"), {"id": ids[-1]})
        session.execute(text("DELETE FROM image"))
    found = told(start)
    assert [(event.type, event.collection) for event in found] == [
        ("image.changed", "b"),
        *[("image.deleted", "a")] * 2,
        ("image.deleted", "b"),
    ]
    assert found[0].data == {"image_ids": [str(ids[-1])], "changed": ["label"]}
    assert [one for event in found[1:] for one in event.data["image_ids"]] == list(map(str, ids))


def test_restored_images_are_one_event_a_collection(start: int) -> None:
    ids = committed(lambda make: [make.image(collection=name) for name in ("a", "b", "a")])
    with transaction() as session:
        trash.move_to_trash(session, ids)
        trash.bring_back(session, ids, [])
    found = [(event.type, event.collection, event.data) for event in told(start)][2:]  # after they were deleted
    assert found == [
        ("image.restored", "a", {"image_ids": [str(ids[0]), str(ids[2])]}),
        ("image.restored", "b", {"image_ids": [str(ids[1])]}),
    ]


def test_a_switch_of_models_and_its_rollback_are_told_of(start: int) -> None:
    old, new = committed(lambda make: (make.version(), make.version(active=False)))
    lifecycle.activate(transaction, new.id)
    lifecycle.rollback(transaction, new.id)
    found = told(start)
    assert [(event.type, event.data["model_version"], event.data["replaced"]) for event in found] == [
        ("model.switched", str(new.id), str(old.id)),
        ("model.rolled_back", str(old.id), str(new.id)),
    ]


def test_a_reader_passes_over_nothing_that_commits_late(start: int) -> None:
    """An event that is written first and committed last comes after those that were published meanwhile."""
    with engine().connect() as late, Session(late) as session:
        log.insert_event(session, EventType.MODEL_SWITCHED, {"number": 1})
        with transaction() as quick:
            log.insert_event(quick, EventType.MODEL_SWITCHED, {"number": 2})
        seen = told(start)
        session.commit()
    seen += told(seen[-1].position)
    assert [event.data["number"] for event in seen] == [2, 1]
    assert [event.position for event in seen] == [start + 1, start + 2]


def test_many_publishers_give_each_event_one_place(start: int) -> None:
    with transaction() as session:
        for number in range(60):
            log.insert_event(session, EventType.MODEL_SWITCHED, {"number": number})
    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = told(start)
    assert [event.data["number"] for event in found] == list(range(60))
    assert [event.position for event in found] == list(range(start + 1, start + 61))


def test_old_events_go_up_to_the_first_that_is_still_to_be_delivered(start: int) -> None:
    with transaction() as session:
        for number in range(5):
            log.insert_event(session, EventType.MODEL_SWITCHED, {"number": number})
    publish()
    with transaction() as session:
        session.execute(
            text("UPDATE event SET created_at = now() - interval '8 days' WHERE (data ->> 'number')::int < 4")
        )
        session.execute(text("INSERT INTO webhook (url, secret, created_by) VALUES ('http://a.test', 'x', 'test')"))
        session.execute(
            text("INSERT INTO webhook_delivery (webhook_id, position) SELECT id, :at FROM webhook"), {"at": start + 3}
        )
    log.delete_old_events(transaction, 7)
    assert [event.position for event in told(start)] == [start + 3, start + 4, start + 5]
    with transaction() as session:
        assert log.bounds(session) == (start + 5, start + 2)


# What is followed over HTTP, where there is no server to go on with the answer: the events that are there.


def followed(api: FlaskClient, key: str | None = None, **query: Any) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = api.get("/v1/events", query_string=query, headers=headers)
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream"), answer.text
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def test_a_key_follows_its_own_collections_alone(app: Any, api: FlaskClient, start: int) -> None:
    def gallery(make: Factory) -> Any:
        version = make.version()
        lifecycle_of = [make.image(collection=name, vector=unit(1), version=version) for name in ("ours", "theirs")]
        jobs_of = [
            jobs.insert_job(make.session, JobType.COMPARISON, closed=False, collection_id=collection)
            for collection in (make.collection("ours"), make.collection("theirs"), None)
        ]
        return lifecycle_of, jobs_of

    ids, begun = committed(gallery)
    for image_id in ids:
        with transaction() as session:
            session.execute(text("UPDATE image SET label = 'x' WHERE id = :id"), {"id": image_id})
    app.config["REQUIRE_KEYS"] = True
    try:
        ours, everything = make_key(KeyScope.READ, "ours"), make_key(KeyScope.READ)
        assert {one["collection"] for one in followed(api, ours, after=start)} == {"ours"}
        assert {one["collection"] for one in followed(api, everything, after=start)} == {"ours", "theirs", None}
        seen = followed(api, everything, after=start, collection="theirs", types="image.*")
        assert [one["type"] for one in seen] == ["image.changed"]
        assert [one["data"]["job_id"] for one in followed(api, ours, after=start, job_id=begun[0])] == [str(begun[0])]
        for query, status in (
            ({"collection": "theirs"}, 403),
            ({"job_id": begun[1]}, 404),
            ({"job_id": begun[2]}, 404),
        ):
            answer = api.get("/v1/events", query_string=query, headers={"Authorization": f"Bearer {ours}"})
            assert answer.status_code == status
        uploads = {"Authorization": f"Bearer {make_key(KeyScope.UPLOAD)}"}
        assert_rejected(api.get("/v1/events", headers=uploads), 403, "forbidden")
    finally:
        app.config["REQUIRE_KEYS"] = False


def test_a_browser_that_connects_again_goes_on_where_it_was(api: FlaskClient, start: int) -> None:
    committed(lambda make: [make.job(closed=False) for _ in range(3)])
    headers = {"Last-Event-ID": str(start + 2)}
    answer = api.get("/v1/events", query_string={"after": start, "follow": "false"}, headers=headers)
    assert answer.text.count("data: ") == 1


@pytest.mark.parametrize("query", [{"types": "job.done"}, {"after": "-1"}, {"after": "x"}, {"follow": "perhaps"}])
def test_what_cannot_be_followed_is_refused(api: FlaskClient, query: dict[str, str]) -> None:
    assert_rejected(api.get("/v1/events", query_string=query), 422, "invalid_input")


@pytest.mark.parametrize("last", ["x", "²", "9" * 30, "-1"])
def test_a_last_event_id_that_is_none_is_refused(api: FlaskClient, last: str) -> None:
    assert_rejected(api.get("/v1/events", headers={"Last-Event-ID": last}), 422, "invalid_input")
