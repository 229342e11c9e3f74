"""Webhooks: what is delivered to a real receiver that fails, hangs, is gone and comes back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from umbel_client import verify_webhook

from tests.integration.callers import assert_rejected
from tests.processes import eventually
from tests.receiver import Receiver, receiving
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.types import EventType
from umbel.events import deliveries, log
from umbel.events.deliveries import FACTOR, JITTER, LONGEST_SECONDS, delay_of
from umbel.events.handler import EventHandler

pytestmark = pytest.mark.usefixtures("database", "redis")

PRIVATE = {"private_hosts": ("127.0.0.1",), "webhook_seconds": 2.0}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as [server]:
        yield server


@contextmanager
def worker(**changes: Any) -> Iterator[EventHandler]:
    """A worker's part; it delivers when it is run, and all is delivered at the end."""
    handler = EventHandler(
        transaction=transaction, settings=settings().model_copy(update=PRIVATE | changes), owner="tester"
    )
    yield handler
    handler.close()


def deliver(**changes: Any) -> None:
    with worker(**changes) as handler:
        handler.run()


def happen(*numbers: int, collection: str | None = None) -> None:
    with transaction() as session:
        for number in numbers:
            log.insert_event(session, EventType.MODEL_SWITCHED, {"number": number}, collection=collection)


def added(api: FlaskClient, url: str, **options: Any) -> Any:
    """A webhook for the events that happen from now on."""
    with transaction() as session:
        log.publish_events(session)
    answer = api.post("/v1/webhooks", json={"url": url, **options})
    assert answer.status_code == 201, answer.text
    return answer.get_json()


def described(api: FlaskClient, hook: Any) -> Any:
    return api.get(f"/v1/webhooks/{hook['id']}").get_json()


def listed(api: FlaskClient, hook: Any, state: str | None = None) -> list[Any]:
    query = {"state": state} if state else {}
    found: list[Any] = api.get(f"/v1/webhooks/{hook['id']}/deliveries", query_string=query).get_json()["items"]
    return found


def make_due(**ages: str) -> None:
    """All that waits is due. ages: columns of webhooks or deliveries that are set back by so much."""
    with transaction() as session:
        for table in ("webhook", "webhook_delivery"):
            session.execute(text(f"UPDATE {table} SET next_try = now()"))
        if "delivery" in ages:
            session.execute(text(f"UPDATE webhook_delivery SET created_at = now() - interval '{ages['delivery']}'"))
        if "failing" in ages:
            session.execute(text(f"UPDATE webhook SET failing_since = now() - interval '{ages['failing']}'"))


def numbers(receiver: Receiver) -> list[int]:
    return [event["data"]["number"] for event in receiver.taken()]


def test_events_arrive_signed_in_order_and_once(api: FlaskClient, receiver: Receiver) -> None:
    hook = added(api, receiver.url)
    happen(1, 2, 3)
    deliver()
    deliver()
    assert numbers(receiver) == [1, 2, 3]
    for one in receiver.received:
        event = verify_webhook(one.body, one.headers, hook["secret"])
        assert (event["id"], event["type"]) == (one.headers["webhook-id"], "model.switched")
    assert [(one["state"], one["attempts"], one["status"]) for one in listed(api, hook)] == [("delivered", 1, 204)] * 3
    assert "secret" not in described(api, hook)


def test_only_what_a_webhook_asks_for_is_delivered(api: FlaskClient, receiver: Receiver) -> None:
    added(api, receiver.url, collection="garden", types=["model.*"])
    added(api, receiver.url, types=["job.finished"])
    happen(1)
    happen(2, collection="garden")
    happen(3, collection="meadow")
    deliver()
    assert numbers(receiver) == [2]


def test_what_fails_is_tried_again_and_the_others_are_not_held_up(api: FlaskClient, receiver: Receiver) -> None:
    """The first event is rejected for what it is: those after it arrive before it."""
    hook = added(api, receiver.url)
    receiver.answers = [400]
    happen(1, 2)
    deliver()
    assert numbers(receiver) == [2]
    [pending] = listed(api, hook, "pending")
    assert (pending["attempts"], pending["status"], pending["error"]) == (1, 400, "The receiver answered 400.")
    make_due()
    deliver()
    assert numbers(receiver) == [2, 1]
    assert described(api, hook)["failures"] == 0


@pytest.mark.parametrize("status", [500, 429, 302])
def test_a_receiver_that_is_unwell_is_spared(api: FlaskClient, receiver: Receiver, status: int) -> None:
    hook = added(api, receiver.url)
    receiver.answers = [status]
    happen(1, 2)
    deliver()
    assert len(receiver.received) == (2 if status == 302 else 1)  # a redirect concerns the event, and is not followed
    now = described(api, hook)
    assert now["failures"] == (0 if status == 302 else 1)
    make_due()
    deliver()
    assert sorted(numbers(receiver)) == [1, 2]


def test_one_that_hangs_or_is_away_holds_up_no_other(api: FlaskClient) -> None:
    with receiving(4) as [well, *hanging]:
        for server in hanging:
            server.hangs = True
            added(api, server.url)
        added(api, "http://127.0.0.1:1/nothing-listens-here")
        added(api, well.url)
        happen(1)
        with worker(webhook_seconds=20.0) as handler:
            handler.run()
            for server in hanging:
                assert server.hanging.acquire(timeout=10)
            eventually(lambda: numbers(well) == [1], within=10)
            happen(2)
            handler.run()  # returns though receivers hang
            eventually(lambda: numbers(well) == [1, 2], within=10)
            for server in hanging:
                server.hangs = False
                server.released.set()
        make_due()
        deliver()
        assert [sorted(numbers(server)) for server in hanging] == [[1, 2]] * 3


def test_a_hanging_receiver_is_given_up_after_a_time(api: FlaskClient, receiver: Receiver) -> None:
    hook = added(api, receiver.url)
    receiver.hangs = True
    happen(1)
    deliver(webhook_seconds=0.2)
    [pending] = listed(api, hook, "pending")
    assert "no answer in 0.2 s" in pending["error"]


def test_410_disables_at_once_and_enabling_replays_what_was_missed(api: FlaskClient, receiver: Receiver) -> None:
    hook = added(api, receiver.url)
    receiver.answers = [410]
    happen(1, 2)
    deliver()
    now = described(api, hook)
    assert (now["enabled"], "410" in now["disabled_reason"]) == (False, True)
    assert [one["state"] for one in listed(api, hook)] == ["failed"] * 2
    happen(3)
    deliver()
    assert len(receiver.received) == 1
    assert api.post(f"/v1/webhooks/{hook['id']}/enable").get_json()["enabled"]
    replayed = api.post(f"/v1/webhooks/{hook['id']}/replay", json={"since": hook["created_at"]}).get_json()
    deliver()
    assert replayed == {"deliveries": 3}
    assert numbers(receiver) == [1, 2, 3]


def test_one_that_is_disabled_by_hand_is_spared_until_it_is_enabled(api: FlaskClient, receiver: Receiver) -> None:
    hook = added(api, receiver.url)
    for _ in range(2):
        now = api.post(f"/v1/webhooks/{hook['id']}/disable").get_json()
        assert (now["enabled"], now["disabled_reason"]) == (False, "anonymous disabled it.")
    happen(1)
    deliver()
    api.post(f"/v1/webhooks/{hook['id']}/enable")
    happen(2)
    deliver()
    assert numbers(receiver) == [2]


def test_a_delivery_is_given_up_after_a_day_and_a_webhook_that_failed_for_one_is_disabled(
    api: FlaskClient, receiver: Receiver
) -> None:
    hook = added(api, receiver.url)
    receiver.status = 500
    happen(1)
    deliver()
    make_due(delivery="25 hours")
    deliver()
    assert described(api, hook)["enabled"]
    [failed] = listed(api, hook, "failed")
    assert failed["attempts"] == 2
    happen(2)
    make_due(failing="25 hours")
    deliver()
    now = described(api, hook)
    assert (now["enabled"], "24 hours" in now["disabled_reason"]) == (False, True)
    receiver.status = 200
    api.post(f"/v1/webhooks/{hook['id']}/enable")
    assert api.post(f"/v1/webhooks/{hook['id']}/deliveries/{failed['id']}/replay").status_code == 204
    deliver()
    assert numbers(receiver) == [1]


def test_a_worker_that_dies_leaves_its_webhook_to_others(api: FlaskClient, receiver: Receiver) -> None:
    hook = added(api, receiver.url)
    happen(1)
    with transaction() as session:
        log.publish_events(session)
        claimed = deliveries.claim_webhook(session, owner="dead", lease_seconds=60, failing=True)
    assert claimed is not None
    assert claimed.id == UUID(hook["id"])
    deliver()
    assert numbers(receiver) == []
    with transaction() as session:
        session.execute(text("UPDATE webhook SET lease_until = now() - interval '1 second'"))
    deliver()
    assert numbers(receiver) == [1]


def test_nothing_is_sent_to_addresses_that_are_not_public(api: FlaskClient, receiver: Receiver) -> None:
    hook = added(api, receiver.url)
    happen(1)
    deliver(private_hosts=())
    [pending] = listed(api, hook, "pending")
    assert "not public" in pending["error"]
    assert receiver.received == []


@pytest.mark.parametrize("url", ["ftp://a.test", "https://user:pass@a.test/", "a.test/hook", "http://"])
def test_what_is_no_address_is_refused(api: FlaskClient, url: str) -> None:
    assert_rejected(api.post("/v1/webhooks", json={"url": url}), 422, "invalid_input")


def test_a_webhook_is_listed_and_removed(api: FlaskClient, receiver: Receiver) -> None:
    hook = added(api, receiver.url)
    happen(1)
    assert [one["id"] for one in api.get("/v1/webhooks").get_json()["items"]] == [hook["id"]]
    assert api.delete(f"/v1/webhooks/{hook['id']}").status_code == 204
    deliver()
    assert receiver.received == []
    assert_rejected(api.delete(f"/v1/webhooks/{hook['id']}"), 404, "not_found")


def test_pauses_grow_to_hours_and_differ() -> None:
    for failures in range(1, 40):
        usual = min(LONGEST_SECONDS, 5 * FACTOR ** (failures - 1))
        drawn = [delay_of(failures, 5) for _ in range(20)]
        assert all((1 - JITTER) * usual <= each <= (1 + JITTER) * usual for each in drawn)
        assert len(set(drawn)) > 1
