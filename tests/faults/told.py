"""Events: a receiver that is dead while a storm lasts, and what it must have been told of once it lives."""

from collections.abc import Iterator
from uuid import UUID

import psycopg

from tests.faults.clients import Clients
from tests.faults.target import Target
from tests.receiver import Receiver

ON_THEIR_WAY = """
SELECT format('event %%s is not published', type) FROM event WHERE position IS NULL AND collection = %(collection)s
UNION ALL
SELECT format('event %%s is not delivered after %%s attempts: %%s', position, attempts, error) FROM webhook_delivery
WHERE webhook_id = %(webhook)s AND state = 'pending'
LIMIT 10
"""
EVENTS = "SELECT id, type, job_id, data FROM event WHERE collection = %(collection)s"
ENDED = """
SELECT job.id FROM job JOIN collection c ON c.id = collection_id
WHERE c.name = %(collection)s AND finished_at IS NOT NULL AND total > 0
"""
EMBEDDED = """
SELECT DISTINCT image_id FROM job_item i JOIN job ON job.id = job_id JOIN collection c ON c.id = job.collection_id
WHERE c.name = %(collection)s AND i.state = 'indexed' AND queue IN ('single', 'bulk')
"""


class Told:
    """A webhook for one collection, whose receiver answers nothing until `revive`."""

    def __init__(self, clients: Clients, receiver: Receiver, collection: str) -> None:
        self._clients, self._receiver, self._collection = clients, receiver, collection
        receiver.hangs = True
        self._webhook: UUID = clients.ask(lambda api: api.webhooks.create(receiver.url, collection=collection)).id

    def revive(self) -> None:
        """Let the receiver answer, and have all that waits for it tried at once."""
        self._receiver.hangs = False
        self._receiver.released.set()
        self._clients.ask(lambda api: api.webhooks.enable(self._webhook))

    def waiting(self, connection: "psycopg.Connection[object]") -> list[str]:
        """What has yet to be delivered, in words."""
        values = {"collection": self._collection, "webhook": self._webhook}
        return [str(row[0]) for row in connection.execute(ON_THEIR_WAY, values)]  # type: ignore[index]

    def missing(self, target: Target) -> Iterator[str]:
        """What happened and was not told of, or told and not received."""
        values = {"collection": self._collection}
        with target.ledger() as connection:
            events = connection.execute(EVENTS, values).fetchall()
            ended = {row[0] for row in connection.execute(ENDED, values)}
            embedded = {str(row[0]) for row in connection.execute(EMBEDDED, values)}
        told = {image for _, kind, _, data in events if kind == "image.indexed" for image in data["image_ids"]}
        if embedded - told:
            yield f"{len(embedded - told)} images were embedded, and no event says so: {sorted(embedded - told)[:3]}"
        ends = {job for _, kind, job, _ in events if kind in ("job.finished", "job.failed", "job.cancelled")}
        if ended - ends:
            yield f"{len(ended - ends)} jobs ended, and no event says so: {list(ended - ends)[:3]}"
        received = {event["id"] for event in self._receiver.taken()}
        lost = [(str(event), kind) for event, kind, *_ in events if str(event) not in received]
        if lost:
            yield f"{len(lost)} of {len(events)} events did not arrive, such as {lost[:3]}"

    def close(self) -> None:
        self._clients.ask(lambda api: api.webhooks.delete(self._webhook))
