"""Deliveries: events on their way to webhooks. A webhook is claimed under a lease, and its deliveries with it.

What fails is tried again later, the event by itself; where the receiver as a whole is unwell, nothing else is sent to
it meanwhile. So neither an event that it always rejects nor a receiver that is away holds up anything but itself.
"""

import random
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.orm import Session

from umbel.base.errors import NotFound
from umbel.base.settings import Settings
from umbel.base.tables import EventRow, Webhook, WebhookDelivery
from umbel.base.types import DeliveryState
from umbel.events import webhooks
from umbel.events.log import COLUMNS, MATCHES, Event
from umbel.events.sending import GONE, Answer

FACTOR, LONGEST_SECONDS, JITTER = 3.0, 3 * 3600.0, 0.2
DUE = "d.state = 'pending' AND d.next_try <= now()"
WAITING = f"""
    w.disabled_at IS NULL AND w.next_try <= now() AND (w.lease_until IS NULL OR w.lease_until < now())
    AND EXISTS (SELECT FROM webhook_delivery d WHERE d.webhook_id = w.id AND {DUE})
"""


@dataclass(frozen=True, slots=True)
class ClaimedWebhook:
    """A webhook that this worker alone delivers to until its lease ends. failures: in a row so far."""

    id: UUID
    url: str
    secret: str
    failures: int


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """An event to send now. attempts: those before."""

    id: UUID
    attempts: int
    event: Event


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way, with what became of it so far. status, error: of the last attempt."""

    id: UUID
    event_id: UUID
    type: str
    state: str
    attempts: int
    status: int | None
    error: str | None
    created_at: datetime
    next_try: datetime | None
    finished_at: datetime | None


def is_work_left(session: Session) -> bool:
    """Whether an event is to be published, or a delivery to be made now."""
    statement = f"""
        SELECT EXISTS (SELECT FROM event WHERE position IS NULL) OR EXISTS (SELECT FROM webhook w WHERE {WAITING})
    """
    return bool(session.scalar(text(statement)))


def claim_webhook(session: Session, *, owner: str, lease_seconds: float, failing: bool) -> ClaimedWebhook | None:
    """The webhook that has waited longest of those that something waits for. failing: also those that failed last."""
    row = session.execute(
        text(f"""
            UPDATE webhook SET lease_owner = :owner, lease_until = now() + make_interval(secs => :seconds)
            WHERE id = (
                SELECT id FROM webhook w WHERE {WAITING} AND (:failing OR w.failures = 0)
                ORDER BY w.failures > 0, w.next_try, w.id LIMIT 1 FOR UPDATE SKIP LOCKED
            ) RETURNING id, url, secret, failures
        """),
        {"owner": owner, "seconds": lease_seconds, "failing": failing},
    ).one_or_none()
    return None if row is None else ClaimedWebhook(*row)


def list_due(session: Session, webhook_id: UUID, limit: int) -> list[ClaimedDelivery]:
    """Up to `limit` deliveries to make now, in the order of their events."""
    statement: Select[Any] = (
        select(WebhookDelivery.id, WebhookDelivery.attempts, *COLUMNS)
        .join(EventRow, EventRow.position == WebhookDelivery.position)
        .where(WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.state == DeliveryState.PENDING)
        .where(WebhookDelivery.next_try <= text("now()"))
        .order_by(WebhookDelivery.position)
        .limit(limit)
    )
    return [ClaimedDelivery(row[0], row[1], Event(*row[2:])) for row in session.execute(statement).all()]


FAIL_DELIVERY = text(
    """
    UPDATE webhook_delivery SET attempts = attempts + 1, status = :status, error = :error,
           next_try = now() + make_interval(secs => :delay),
           state = CASE WHEN {late} THEN 'failed' ELSE 'pending' END, finished_at = CASE WHEN {late} THEN now() END
    WHERE id = :id AND state = 'pending'
""".format(late="created_at < now() - make_interval(secs => 3600 * :hours)")
)
# Put off all that waits for a webhook whose receiver is unwell. Returns whether it has failed for too long.
FAIL_WEBHOOK = text("""
    UPDATE webhook SET failures = failures + 1, failing_since = coalesce(failing_since, now()),
           next_try = CASE WHEN :unwell THEN now() + make_interval(secs => :delay) ELSE next_try END
    WHERE id = :webhook
    RETURNING failing_since < now() - make_interval(secs => 3600 * :hours)
""")


def store_answer(
    session: Session, webhook: ClaimedWebhook, delivery: ClaimedDelivery, answer: Answer, settings: Settings
) -> bool:
    """Write down how a receiver took an event, and what follows. Returns whether it may be sent more now."""
    if answer.error is None:
        _delivered(session, webhook, delivery, answer)
        return True
    first, values = settings.webhook_retry_seconds, {"hours": settings.webhook_hours}
    session.execute(
        FAIL_DELIVERY,
        {
            **values,
            "id": delivery.id,
            "status": answer.status,
            "error": answer.error,
            "delay": delay_of(delivery.attempts + 1, first),
        },
    )
    if answer.status == GONE:
        webhooks.disable_webhook(session, webhook.id, "The receiver answered 410: it is gone for good.")
        return False
    delay = delay_of(webhook.failures + 1, first)
    failing = session.execute(
        FAIL_WEBHOOK, {**values, "webhook": webhook.id, "unwell": answer.unwell, "delay": delay}
    ).scalar()
    if failing:
        reason = f"Nothing could be delivered for {settings.webhook_hours:g} hours. {answer.error}"
        webhooks.disable_webhook(session, webhook.id, reason)
        return False
    return not answer.unwell


def _delivered(session: Session, webhook: ClaimedWebhook, delivery: ClaimedDelivery, answer: Answer) -> None:
    values = {"attempts": WebhookDelivery.attempts + 1, "status": answer.status, "error": None}
    ended = {"state": DeliveryState.DELIVERED, "finished_at": text("now()")}
    session.execute(update(WebhookDelivery).where(WebhookDelivery.id == delivery.id).values(**values, **ended))
    session.execute(
        update(Webhook).where(Webhook.id == webhook.id, Webhook.failures > 0).values(failures=0, failing_since=None)
    )


def release_webhook(session: Session, webhook: ClaimedWebhook, *, owner: str) -> None:
    """Let others deliver to it, once those that wait as well have had their turn."""
    ours = update(Webhook).where(Webhook.id == webhook.id, Webhook.lease_owner == owner)
    last = func.greatest(Webhook.next_try, func.now())
    session.execute(ours.values(lease_owner=None, lease_until=None, next_try=last))


def release_webhooks_of(session: Session, owner: str) -> None:
    """End the leases of `owner`, whose process is known to be gone."""
    session.execute(update(Webhook).where(Webhook.lease_owner == owner).values(lease_owner=None, lease_until=None))


def delay_of(failures: int, first: float) -> float:
    """Seconds before the next try after so many failures, drawn around `first` times FACTOR for each."""
    usual = min(LONGEST_SECONDS, first * FACTOR ** min(failures - 1, 30))
    return usual * random.uniform(1 - JITTER, 1 + JITTER)


def list_deliveries(
    session: Session, webhook_id: UUID, *, state: str | None, before: UUID | None, limit: int
) -> list[Delivery]:
    """Up to `limit` deliveries, newest first."""
    statement: Select[*tuple[Any, ...]] = (
        select(
            WebhookDelivery.id,
            EventRow.id,
            EventRow.type,
            WebhookDelivery.state,
            WebhookDelivery.attempts,
            WebhookDelivery.status,
            WebhookDelivery.error,
            WebhookDelivery.created_at,
            WebhookDelivery.next_try,
            WebhookDelivery.finished_at,
        )
        .join(EventRow, EventRow.position == WebhookDelivery.position)
        .where(WebhookDelivery.webhook_id == webhook_id)
        .order_by(WebhookDelivery.id.desc())
        .limit(limit)
    )
    if state is not None:
        statement = statement.where(WebhookDelivery.state == state)
    if before is not None:
        statement = statement.where(WebhookDelivery.id < before)
    return [Delivery(*row) for row in session.execute(statement)]


# As if it were new: it is tried for as long as one that is.
AFRESH = """
    state = 'pending', attempts = 0, status = NULL, error = NULL, finished_at = NULL,
    next_try = now(), created_at = now()
"""


def replay_delivery(session: Session, webhook_id: UUID, delivery_id: UUID) -> None:
    """Deliver an event once more, whatever became of it. Raises NotFound."""
    found = session.execute(
        text(f"UPDATE webhook_delivery SET {AFRESH} WHERE id = :id AND webhook_id = :webhook"),
        {"id": delivery_id, "webhook": webhook_id},
    )
    if not found.rowcount:  # type: ignore[attr-defined]
        raise NotFound(f"There is no delivery {delivery_id} of webhook {webhook_id}.")


def replay_since(session: Session, webhook_id: UUID, since: datetime) -> int:
    """Deliver what was not delivered of the events that are kept since a time: failed, or missed while disabled.

    Returns how many.
    """
    values = {"webhook": webhook_id, "since": since}
    again = session.execute(
        text(f"""
            UPDATE webhook_delivery d SET {AFRESH} FROM event e
            WHERE d.webhook_id = :webhook AND d.state = 'failed' AND e.position = d.position AND e.created_at >= :since
        """),
        values,
    )
    missed = session.execute(
        text(f"""
            INSERT INTO webhook_delivery (webhook_id, position)
            SELECT w.id, e.position FROM webhook w JOIN event e ON e.position IS NOT NULL AND e.created_at >= :since
                 AND {MATCHES.format(types="w.types", type="e.type")}
                 AND (w.collection IS NULL OR w.collection = e.collection)
            WHERE w.id = :webhook
            ON CONFLICT (webhook_id, position) DO NOTHING
        """),
        values,
    )
    return int(again.rowcount + missed.rowcount)  # type: ignore[attr-defined]
