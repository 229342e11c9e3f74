"""/v1/webhooks: addresses that events are delivered to, and what became of each delivery."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, ConfigDict, Field

from api import audit
from api.access import reach, within
from api.caller import caller
from api.events import EventKind
from api.fields import CollectionName, Links, NextCursor, PageQuery, Strict, answer_of, link_to, page_of
from umbel.base.database import transaction
from umbel.base.storable import StorableText
from umbel.base.tables import Webhook
from umbel.base.types import DeliveryState, Queue
from umbel.events import deliveries, webhooks
from umbel.jobs.wakeup import waker

bp = APIBlueprint("webhooks", __name__, tag="Webhooks")

Url = Annotated[
    StorableText,
    Field(
        min_length=1,
        max_length=2_000,
        description="http or https. Its address must be public, unless UMBEL_PRIVATE_HOSTS lists the host.",
        examples=["https://hooks.example.com/umbel"],
    ),
]
Kinds = Annotated[list[EventKind], Field(max_length=50)]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # an example


class WebhookIn(Strict):
    url: Url
    types: Kinds = Field(
        default_factory=list,
        description="Only events of these types, such as `job.finished` or `image.*`; empty: all.",
    )
    collection: CollectionName | None = Field(
        None, description="Only events of this collection; left out: that of the key, if it is for one; else all."
    )


class WebhookOut(BaseModel):
    id: UUID
    url: str = Field(examples=["https://hooks.example.com/umbel"])
    types: list[EventKind] = Field(description="Empty: all.", examples=[["job.finished"]])
    collection: str | None = Field(description="null: all.", examples=["garden"])
    created_by: str = Field(description="Name of the key.", examples=["shop (0123456789ab)"])
    created_at: datetime
    enabled: bool
    disabled_at: datetime | None = Field(examples=[None])
    disabled_reason: str | None = Field(examples=[None])
    failures: int = Field(description="Failed attempts since the last delivery that was taken.", examples=[0])
    failing_since: datetime | None = Field(examples=[None])
    links: Links


class WebhookCreatedOut(WebhookOut):
    secret: str = Field(description="To check signatures with. It is not told again.", examples=[SECRET])


class WebhooksOut(BaseModel):
    items: list[WebhookOut]
    next_cursor: NextCursor


class DeliveriesQuery(PageQuery):
    state: DeliveryState | None = None


class DeliveryOut(BaseModel):
    id: UUID
    event_id: UUID = Field(description="The header `webhook-id`.")
    type: EventKind
    state: DeliveryState = Field(description="failed: given up.")
    attempts: int
    status: int | None = Field(description="Of the last answer; null: there was none.", examples=[200])
    error: str | None = Field(description="Why the last attempt failed.", examples=[None])
    created_at: datetime
    next_try: datetime | None = Field(description="Of a pending one.")
    finished_at: datetime | None


class DeliveriesOut(BaseModel):
    items: list[DeliveryOut]
    next_cursor: NextCursor


class ReplayIn(Strict):
    model_config = ConfigDict(json_schema_extra={"examples": [{"since": "2026-11-27T09:30:00Z"}]})

    since: datetime


class ReplayOut(BaseModel):
    deliveries: int = Field(description="How many were opened.", examples=[3])


@bp.post("/v1/webhooks")
@bp.input(WebhookIn, arg_name="body")
@bp.output(WebhookCreatedOut, status_code=201, description="Made; with its secret, once")
def create_webhook(body: WebhookIn) -> Any:
    """Have events delivered to an address, from now on, signed as Standard Webhooks specify.

    Each is delivered at least once: the header `webhook-id` says which events are the same. An answer other than 2xx is
    tried again with growing pauses for 24 hours; `410` disables the webhook at once.
    """
    collection = within(body.collection)
    audit.note(url=body.url, types=body.types, collection=collection)
    with transaction() as session:
        row = webhooks.create_webhook(
            session, body.url, types=body.types, collection=collection, created_by=caller().name
        )
    out = answer_of(WebhookCreatedOut, row, **_beside(row))
    return out, 201, {"Location": url_for("webhooks.get_webhook", webhook_id=row.id)}


@bp.get("/v1/webhooks")
@bp.input(PageQuery, location="query", arg_name="query")
@bp.output(WebhooksOut)
def list_webhooks(query: PageQuery) -> Any:
    """List the webhooks, newest first."""
    with transaction() as session:
        rows = webhooks.list_webhooks(session, before=query.cursor, limit=query.limit + 1, within=reach())
    page, cursor = page_of(rows, query.limit)
    return WebhooksOut(items=[_out(row) for row in page], next_cursor=cursor)


@bp.get("/v1/webhooks/<uuid:webhook_id>")
@bp.output(WebhookOut)
def get_webhook(webhook_id: UUID) -> Any:
    """Describe a webhook."""
    return _described(webhook_id)


@bp.delete("/v1/webhooks/<uuid:webhook_id>")
@bp.output({}, status_code=204)
def delete_webhook(webhook_id: UUID) -> Any:
    """Remove a webhook. What is on its way to it is not delivered any more."""
    with transaction() as session:
        webhooks.delete_webhook(session, webhook_id)
    return ""


@bp.post("/v1/webhooks/<uuid:webhook_id>/enable")
@bp.output(WebhookOut)
def enable_webhook(webhook_id: UUID) -> Any:
    """Deliver to a webhook again that was disabled, and at once what waits for its next try. Twice is harmless.

    POST /v1/webhooks/{webhook_id}/replay brings what was missed.
    """
    with transaction() as session:
        webhooks.enable_webhook(session, webhook_id)
    waker().wake(Queue.EVENTS)
    return _described(webhook_id)


@bp.post("/v1/webhooks/<uuid:webhook_id>/disable")
@bp.output(WebhookOut)
def disable_webhook(webhook_id: UUID) -> Any:
    """Deliver nothing to a webhook until it is enabled again; what is on its way is given up. Twice is harmless."""
    with transaction() as session:
        webhooks.get_webhook(session, webhook_id)
        webhooks.disable_webhook(session, webhook_id, f"{caller().name} disabled it.")
    return _described(webhook_id)


@bp.post("/v1/webhooks/<uuid:webhook_id>/replay")
@bp.input(ReplayIn, arg_name="body")
@bp.output(ReplayOut)
def replay_events(webhook_id: UUID, body: ReplayIn) -> Any:
    """Deliver what happened since a time and was not delivered: given up, or missed while the webhook was disabled."""
    with transaction() as session:
        opened = deliveries.replay_since(session, webhook_id, body.since)
    waker().wake(Queue.EVENTS)
    return ReplayOut(deliveries=opened)


@bp.get("/v1/webhooks/<uuid:webhook_id>/deliveries")
@bp.input(DeliveriesQuery, location="query", arg_name="query")
@bp.output(DeliveriesOut)
def list_deliveries(webhook_id: UUID, query: DeliveriesQuery) -> Any:
    """List a webhook's deliveries, newest first: pending, delivered, or failed and given up."""
    with transaction() as session:
        webhooks.get_webhook(session, webhook_id)
        rows = deliveries.list_deliveries(
            session, webhook_id, state=query.state, before=query.cursor, limit=query.limit + 1
        )
    page, cursor = page_of(rows, query.limit)
    return DeliveriesOut(items=[answer_of(DeliveryOut, row) for row in page], next_cursor=cursor)


@bp.post("/v1/webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay")
@bp.output({}, status_code=204)
def replay_delivery(webhook_id: UUID, delivery_id: UUID) -> Any:
    """Deliver an event once more, whatever became of it before."""
    with transaction() as session:
        deliveries.replay_delivery(session, webhook_id, delivery_id)
    waker().wake(Queue.EVENTS)
    return ""


def _described(webhook_id: UUID) -> WebhookOut:
    with transaction() as session:
        return _out(webhooks.get_webhook(session, webhook_id))


def _out(row: Webhook) -> WebhookOut:
    return answer_of(WebhookOut, row, **_beside(row))


def _beside(row: Webhook) -> dict[str, Any]:
    link = link_to(f"/v1/webhooks/{row.id}")
    links = {"self": link} | {part: f"{link}/{part}" for part in ("enable", "disable", "replay", "deliveries")}
    return {"types": row.types or [], "enabled": row.disabled_at is None, "links": links}
