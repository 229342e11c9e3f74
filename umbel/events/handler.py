"""The worker's part: publishes events and delivers them. A receiver that is slow or dead holds up itself alone."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

import structlog

from umbel.base.database import Transaction
from umbel.base.errors import NotReady, TransientError
from umbel.base.metrics import DELIVERIES
from umbel.base.one_at_a_time import OneAtATime
from umbel.base.progress import progress
from umbel.base.settings import Settings
from umbel.base.types import Queue
from umbel.events import deliveries
from umbel.events.deliveries import ClaimedDelivery, ClaimedWebhook
from umbel.events.log import publish_events
from umbel.events.sending import Answer, send
from umbel.jobs.outcomes import retry_transient

log = structlog.get_logger()

SENDERS = 8  # webhooks that one process delivers to at once
FOR_HEALTHY = 4  # of these, only to such as took the last event
TURN = 50  # deliveries of a webhook, at most, before the next has its turn
TURN_SECONDS = 15.0  # or for so long
STORED_EVERY = 0.5  # seconds; a worker that dies brings again what it had not written down


@dataclass(kw_only=True, eq=False)
class EventHandler:
    """Publishes what was written and has senders deliver it, without waiting for them. owner: of leases."""

    transaction: Transaction
    settings: Settings
    owner: str
    stopping: Callable[[], bool] = lambda: False
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(SENDERS, "sender"), init=False)
    _senders: list[OneAtATime] = field(init=False)

    queues = (Queue.EVENTS,)

    def __post_init__(self) -> None:
        kinds = (number >= FOR_HEALTHY for number in range(SENDERS))
        self._senders = [OneAtATime(partial(self._send_all, failing=failing)) for failing in kinds]

    def run(self) -> None:
        """Raises NotReady, TransientError."""
        while self._publish():
            progress.note()
        with self.transaction() as session:
            left = deliveries.is_work_left(session)
        for sender in self._senders if left else ():
            self._threads.submit(sender.run)

    def close(self) -> None:
        """Wait until all that waits is sent."""
        self._threads.shutdown()

    def _publish(self) -> int:
        with self.transaction() as session:
            return publish_events(session)

    def _send_all(self, *, failing: bool) -> None:
        """Deliver to one webhook after the other until none waits. failing: also to those that failed last."""
        try:
            while not self.stopping() and (webhook := self._claim(failing=failing)):
                try:
                    self._take_turn(webhook)
                finally:
                    with self.transaction() as session:
                        deliveries.release_webhook(session, webhook, owner=self.owner)
                progress.note()
        except (NotReady, TransientError) as error:
            log.warning("deliveries are left to the next sweep", error=error.detail)
        except Exception:  # nothing else would tell of it
            log.exception("a sender failed")

    def _claim(self, *, failing: bool) -> ClaimedWebhook | None:
        seconds = TURN_SECONDS + self.settings.webhook_seconds + self.settings.lease_seconds
        with self.transaction() as session:
            return deliveries.claim_webhook(session, owner=self.owner, lease_seconds=seconds, failing=failing)

    def _take_turn(self, webhook: ClaimedWebhook) -> None:
        """Make some deliveries, until the receiver is unwell."""
        limits: dict[str, Any] = {"seconds": self.settings.webhook_seconds, "private": self.settings.private_hosts}
        with self.transaction() as session:
            due = deliveries.list_due(session, webhook.id, TURN)
        answers: list[tuple[ClaimedDelivery, Answer]] = []  # that are still to be written down
        stored_at = began_at = monotonic()
        for delivery in due:
            began = monotonic()
            if began > began_at + TURN_SECONDS or self.stopping():
                break
            answer = send(webhook.url, webhook.secret, delivery.event, **limits)
            DELIVERIES.labels("failed" if answer.error else "delivered").observe(monotonic() - began)
            answers.append((delivery, answer))
            if answer.error:
                told = {"webhook_id": str(webhook.id), "event_id": str(delivery.event.id), "status": answer.status}
                log.info("a delivery failed", **told, error=answer.error)
            if answer.error or monotonic() > stored_at + STORED_EVERY:
                if not retry_transient(partial(self._store, webhook, answers)):
                    return
                answers, stored_at = [], monotonic()
        retry_transient(partial(self._store, webhook, answers))

    def _store(self, webhook: ClaimedWebhook, answers: Sequence[tuple[ClaimedDelivery, Answer]]) -> bool:
        """Write down how a receiver took some events. Returns whether it may be sent more now."""
        if not answers:
            return True
        with self.transaction() as session:
            *_, goes_on = (deliveries.store_answer(session, webhook, *one, self.settings) for one in answers)
            return goes_on
