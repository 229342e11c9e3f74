"""`umbel.webhooks`: addresses that events are delivered to; and the check of what arrives there."""

import hmac
import json
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from umbel_client.answer import Answer
from umbel_client.connection import Connection, given
from umbel_client.errors import BadSignature

TOLERANCE_SECONDS = 300


class Webhook(Answer):
    """types: none: all; collection: None: all. failures: in a row, since `failing_since`."""

    id: UUID
    url: str
    types: list[str]
    collection: str | None
    created_by: str
    created_at: datetime
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: str | None
    failures: int
    failing_since: datetime | None


class NewWebhook(Webhook):
    """secret: to check signatures with; it is not told again."""

    secret: str


class Delivery(Answer):
    """state: pending, delivered, or failed and given up. status, error: of the last attempt."""

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


class Webhooks:
    """A webhook receives events until it answers 2xx: at least once, signed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, url: str, *, types: Sequence[str] = (), collection: str | None = None) -> NewWebhook:
        """Have events of these types and this collection delivered to a URL from now on. types: such as "job.*"."""
        body = {"url": url, "types": list(types)} | given(collection=collection)
        return NewWebhook.decode(self._connection.json("POST", "/v1/webhooks", json=body))

    def list(self) -> Iterator[Webhook]:
        """All webhooks, newest first."""
        return self._connection.pages(Webhook, "/v1/webhooks")

    def get(self, webhook_id: UUID) -> Webhook:
        """The webhook of this id. Raises NotFound."""
        return Webhook.decode(self._connection.json("GET", f"/v1/webhooks/{webhook_id}"))

    def delete(self, webhook_id: UUID) -> None:
        """Remove it: nothing is delivered to it any more."""
        self._connection.request("DELETE", f"/v1/webhooks/{webhook_id}")

    def enable(self, webhook_id: UUID) -> Webhook:
        """Deliver to it again, and at once what waits."""
        return Webhook.decode(self._connection.json("POST", f"/v1/webhooks/{webhook_id}/enable", repeatable=True))

    def disable(self, webhook_id: UUID) -> Webhook:
        """Deliver nothing to it until it is enabled again; what is on its way is given up."""
        return Webhook.decode(self._connection.json("POST", f"/v1/webhooks/{webhook_id}/disable", repeatable=True))

    def deliveries(self, webhook_id: UUID, *, state: str | None = None) -> Iterator[Delivery]:
        """What was, is or could not be delivered, newest first."""
        return self._connection.pages(Delivery, f"/v1/webhooks/{webhook_id}/deliveries", state=state)

    def replay(self, webhook_id: UUID, delivery_id: UUID) -> None:
        """Deliver an event once more."""
        path = f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay"
        self._connection.request("POST", path, repeatable=True)

    def replay_since(self, webhook_id: UUID, since: datetime) -> int:
        """Deliver what happened since a time and was not delivered; how many events."""
        body = {"since": since.astimezone().isoformat()}
        path = f"/v1/webhooks/{webhook_id}/replay"
        return int(self._connection.json("POST", path, repeatable=True, json=body)["deliveries"])


def verify_webhook(
    body: bytes, headers: Mapping[str, str], secret: str, *, tolerance: float = TOLERANCE_SECONDS
) -> dict[str, Any]:
    """The event that a request to a webhook brings: {id, type, timestamp, collection, data}. Raises BadSignature.

    body: as it arrived. headers: with names in any case. secret: whsec_…; tolerance: seconds that the clocks may
    differ. The same event may come more than once: the header `webhook-id`, its `id`, tells.
    Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message, timestamp, signatures = (given[f"webhook-{part}"] for part in ("id", "timestamp", "signature"))
        age = abs(time.time() - int(timestamp))
    except (KeyError, ValueError):
        raise BadSignature("The request has not the headers of a webhook.") from None
    if age > tolerance:
        raise BadSignature(f"The request is of another time: {age:.0f} s from now.")
    signed = f"{message}.{timestamp}.".encode() + body
    expected = hmac.digest(b64decode(secret.removeprefix("whsec_")), signed, sha256)
    if not any(_is(each, expected) for each in signatures.split()):
        raise BadSignature("The request is not signed with this secret.")
    event: dict[str, Any] = json.loads(body)
    return event


def _is(signature: str, expected: bytes) -> bool:
    version, _, text = signature.partition(",")
    try:
        return version == "v1" and hmac.compare_digest(b64decode(text, validate=True), expected)
    except ValueError:
        return False
