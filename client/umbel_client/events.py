"""`umbel.events()`: what happens to jobs, images and models, as it happens."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from umbel_client.answer import Answer
from umbel_client.connection import Connection, given
from umbel_client.errors import NotReady, TooManyRequests, UnexpectedAnswer, Unreachable

SILENT_SECONDS = 60.0  # the API says every 15 that it is still there
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
PASSING = (Unreachable, NotReady, TooManyRequests)


class Event(Answer):
    """position: to go on after it, as `after`. id: the same in a webhook's delivery. collection: None: no single one.

    The type `events.missed`, which has no id, says that older ones were removed before they could be sent.
    """

    type: str
    data: dict[str, Any]
    id: UUID | None = None
    timestamp: datetime | None = None
    collection: str | None = None
    position: int = 0


def follow(
    connection: Connection,
    *,
    types: Sequence[str],
    collection: str | None,
    job_id: UUID | None,
    after: int | None,
    follow: bool,
) -> Iterator[Event]:
    """The events, from connection to connection. Raises ApiError, UnexpectedAnswer; Unreachable before the first."""
    query = given(types=",".join(types) or None, collection=collection, job_id=job_id and str(job_id))
    query["follow"] = str(follow).lower()
    pause, connected = FIRST_PAUSE_SECONDS, False
    while True:
        try:
            with connection.lines("/v1/events", timeout=SILENT_SECONDS, params=query | given(after=after)) as lines:
                for position, event in _read(lines):
                    after, pause, connected = position, FIRST_PAUSE_SECONDS, True
                    if event is not None:
                        yield event
            if not follow:
                return
        except PASSING:
            if not (follow and connected):
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _read(lines: Iterable[str]) -> Iterator[tuple[int, Event | None]]:
    """The position of each message, with its event if it has one.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """
    position, data = None, []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            position = _number(value)
        elif name == "data":
            data.append(value)
        elif not line and position is not None:
            yield position, replace(_event(data), position=position) if data else None
            data = []


def _event(data: Sequence[str]) -> Event:
    try:
        return Event.decode(json.loads("\n".join(data)))
    except ValueError as error:
        raise UnexpectedAnswer("The data of an event is no JSON.") from error


def _number(text: str) -> int:
    if not text.isdigit():
        raise UnexpectedAnswer(f"The id of an event should be a whole number, but it is {text!r:.100}.")
    return int(text)
