"""Webhooks: made, found, listed, enabled, disabled, removed."""

from collections.abc import Collection as Names
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from umbel.base.errors import InvalidInput, NotFound
from umbel.base.outbound import url_fault
from umbel.base.tables import Webhook
from umbel.events.signatures import new_secret


def create_webhook(
    session: Session, url: str, *, types: Sequence[str] | None, collection: str | None, created_by: str
) -> Webhook:
    """A webhook for the events that are published from now on. Raises InvalidInput.

    types, collection: which of them; None: all. Its secret is not told again.
    """
    if fault := url_fault(url):
        raise InvalidInput(f"The URL {fault}.")
    kinds = sorted(set(types)) if types else None
    row = Webhook(url=url, secret=new_secret(), types=kinds, collection=collection, created_by=created_by)
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def list_webhooks(
    session: Session, *, before: UUID | None, limit: int, within: Names[str] | None = None
) -> list[Webhook]:
    """Up to `limit` webhooks, newest first. within: of these collections only; None: all."""
    statement = select(Webhook).order_by(Webhook.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(Webhook.id < before)
    if within is not None:
        statement = statement.where(Webhook.collection.in_(within))
    return list(session.scalars(statement))


def get_webhook(session: Session, webhook_id: UUID) -> Webhook:
    """Raises NotFound."""
    row = session.get(Webhook, webhook_id, populate_existing=True)
    if row is None:
        raise _unknown(webhook_id)
    return row


def check_webhook_in(session: Session, webhook_id: UUID, names: Names[str]) -> None:
    """Raises NotFound, as for one that is not there, for a webhook that is not of one of these collections."""
    if get_webhook(session, webhook_id).collection not in names:
        raise _unknown(webhook_id)


def delete_webhook(session: Session, webhook_id: UUID) -> None:
    """Remove a webhook with its deliveries. Raises NotFound."""
    if not session.execute(delete(Webhook).where(Webhook.id == webhook_id)).rowcount:  # type: ignore[attr-defined]
        raise _unknown(webhook_id)


def enable_webhook(session: Session, webhook_id: UUID) -> None:
    """Deliver to it again, and what waits at once. Twice is harmless. Raises NotFound."""
    get_webhook(session, webhook_id)
    afresh = {"disabled_at": None, "disabled_reason": None, "failures": 0, "failing_since": None}
    session.execute(update(Webhook).where(Webhook.id == webhook_id).values(**afresh, next_try=func.now()))
    session.execute(
        text("UPDATE webhook_delivery SET next_try = now() WHERE webhook_id = :id AND state = 'pending'"),
        {"id": webhook_id},
    )


def disable_webhook(session: Session, webhook_id: UUID, reason: str) -> None:
    """Deliver nothing more to it; what was on its way is given up."""
    changed = update(Webhook).where(Webhook.id == webhook_id, Webhook.disabled_at.is_(None))
    session.execute(changed.values(disabled_at=func.now(), disabled_reason=reason))
    session.execute(
        text("""
            UPDATE webhook_delivery SET state = 'failed', finished_at = now(), error = coalesce(error, :reason)
            WHERE webhook_id = :id AND state = 'pending'
        """),
        {"id": webhook_id, "reason": f"The webhook was disabled: {reason}"},
    )


def _unknown(webhook_id: UUID) -> NotFound:
    return NotFound(f"There is no webhook {webhook_id}.")
