"""`umbel webhooks`: add, list, delete, enable and disable webhooks; list and replay deliveries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

import click

from cli.events import types_option
from cli.keys import Span
from cli.output import api_client, confirm, json_option, local_time, print_json, say, table, yes_option

if TYPE_CHECKING:
    from umbel_client import Webhook

ID = click.argument("webhook_id", type=click.UUID)


@click.group()
def webhooks() -> None:
    """Have events delivered to addresses, signed as Standard Webhooks specify."""


@webhooks.command()
@click.argument("address", metavar="URL")
@types_option
@click.option("--collection", help="Only events of this collection.")
@json_option
def add(address: str, types: list[str], collection: str | None, as_json: bool) -> None:
    """Deliver events to URL from now on. Prints the secret that signs them, once.

    \b
    umbel webhooks add https://hooks.example.com/umbel --types job.finished,job.failed --collection garden
    """
    with api_client() as api:
        made = api.webhooks.create(address, types=types, collection=collection)
    if as_json:
        print_json(made.as_dict())
        return
    say(f"Webhook {made.id} is told of {_what(made)}.")
    say(f"Its secret, which is not shown again: {made.secret}")


@webhooks.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the webhooks.

    \b
    umbel webhooks list
    """
    with api_client() as api:
        found = list(api.webhooks.list())
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    rows = ((one.id, one.url, _what(one), _state(one)) for one in found)
    table(None, ("webhook", "url", "events", "state"), rows)


@webhooks.command()
@ID
@yes_option
@json_option
def delete(webhook_id: UUID, yes: bool, as_json: bool) -> None:
    """Remove a webhook; what is on its way to it is not delivered any more.

    \b
    umbel webhooks delete 019b2f6e-0000-7000-8000-000000000000
    """
    confirm(f"Delete the webhook {webhook_id}, with its deliveries?", yes=yes, as_json=as_json)
    with api_client() as api:
        api.webhooks.delete(webhook_id)
    print_json({"id": webhook_id, "deleted": True}) if as_json else say(f"Deleted {webhook_id}.")


@webhooks.command()
@ID
@json_option
def enable(webhook_id: UUID, as_json: bool) -> None:
    """Deliver to a webhook again, and at once what waits for its next try.

    \b
    umbel webhooks enable 019b2f6e-0000-7000-8000-000000000000
    """
    with api_client() as api:
        one = api.webhooks.enable(webhook_id)
    _show_state(one, as_json=as_json)


@webhooks.command()
@ID
@json_option
def disable(webhook_id: UUID, as_json: bool) -> None:
    """Deliver nothing to a webhook until it is enabled; what is on its way to it is given up.

    \b
    umbel webhooks disable 019b2f6e-0000-7000-8000-000000000000
    """
    with api_client() as api:
        one = api.webhooks.disable(webhook_id)
    _show_state(one, as_json=as_json)


@webhooks.command()
@ID
@click.option("--state", type=click.Choice(("pending", "delivered", "failed")), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, at most.")
@json_option
def deliveries(webhook_id: UUID, state: str | None, limit: int, as_json: bool) -> None:
    """List the newest deliveries of a webhook.

    \b
    umbel webhooks deliveries 019b2f6e-0000-7000-8000-000000000000 --state failed
    """
    with api_client() as api:
        found = list(islice(api.webhooks.deliveries(webhook_id, state=state), limit))
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    rows = (
        (one.id, one.type, one.state, one.attempts, local_time(one.created_at), one.error or one.status or "")
        for one in found
    )
    table(None, ("delivery", "event", "state", "attempts", "at", "reason"), rows, right="attempts")


@webhooks.command()
@ID
@click.argument("delivery_id", type=click.UUID, required=False)
@click.option("--since", type=Span(), metavar="12h|7d|1w", help="All that was not delivered for so long.")
@json_option
def replay(webhook_id: UUID, delivery_id: UUID | None, since: timedelta | None, as_json: bool) -> None:
    """Deliver DELIVERY_ID once more, or with --since all that was given up or missed.

    \b
    umbel webhooks replay 019b2f6e-0000-7000-8000-000000000000 --since 1d
    """
    if (delivery_id is None) == (since is None):
        raise click.UsageError("Name a delivery, or give --since.")
    with api_client() as api:
        if since is not None:
            count = api.webhooks.replay_since(webhook_id, datetime.now(UTC) - since)
        else:
            assert delivery_id is not None
            api.webhooks.replay(webhook_id, delivery_id)
            count = 1
    print_json({"deliveries": count}) if as_json else say(f"{count:,} on their way again.")


def _show_state(one: Webhook, *, as_json: bool) -> None:
    print_json(one.as_dict()) if as_json else say(f"{one.id} is {_state(one)}.")


def _what(webhook: Webhook) -> str:
    return f"{', '.join(webhook.types) or 'all events'}{f' of {webhook.collection}' if webhook.collection else ''}"


def _state(webhook: Webhook) -> str:
    if not webhook.enabled:
        return f"disabled: {webhook.disabled_reason}"
    return f"failing since {local_time(webhook.failing_since)}" if webhook.failing_since else "enabled"
