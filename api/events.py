"""/v1/events: what happens to jobs, images and models, as server-sent events."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any
from uuid import UUID

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel, BeforeValidator, Field

from api.access import check_job, reach, within
from api.caller import caller
from api.channel import GOES_ON, Stream
from api.errors import problems
from api.feed import Follower, as_message, feed, missed_message
from api.fields import CollectionName, Strict
from umbel.access.keys import digest
from umbel.base.database import transaction
from umbel.base.errors import InvalidInput
from umbel.base.types import EventType
from umbel.events.log import GROUPS, Interest, bounds, publish_events, read_events

bp = APIBlueprint("events", __name__, tag="Events")

RETRY_MS = 1_000  # after which a browser connects again
PAGE = 500
LARGEST = 2**63 - 1
KINDS = (*EventType, *GROUPS)


def _kind(value: Any) -> Any:
    if value not in KINDS:
        raise ValueError(f"must be one of {', '.join(KINDS)}")
    return str(value)


EventKind = Annotated[
    str,
    BeforeValidator(_kind),
    Field(json_schema_extra={"enum": list(KINDS)}, examples=["job.finished"]),
]


def _separated(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class EventsQuery(Strict):
    types: Annotated[list[EventKind], BeforeValidator(_separated)] = Field(
        default_factory=list,
        description="Only these, separated by commas, such as `job.finished,image.*`; left out: all.",
        json_schema_extra={"type": "string", "examples": ["job.*"]},
    )
    collection: CollectionName | None = Field(None, description="Only events of this collection.")
    job_id: UUID | None = Field(None, description="Only events of this job and its images.")
    after: int | None = Field(
        None,
        ge=0,
        le=LARGEST,
        description="Begin after the event with this id, as `Last-Event-ID` does; 0: with the oldest that is kept.",
    )
    follow: bool = Field(True, description="False: end with what there is now.")


class EventOut(BaseModel):
    """The `data` of a server-sent event, and the body of a webhook's delivery."""

    id: UUID
    type: EventKind
    timestamp: str = Field(examples=["2026-11-27T09:30:00.5Z"])
    collection: str | None = Field(description="null: it concerns no single one.", examples=["garden"])
    data: dict[str, Any] = Field(
        description="Of a job: `job_id`, `job_type`, `status`, `counts`, `error`; of images: `image_ids`, up to 200, or"
        " `failures`; of a model: `model_version`, `replaced`.",
        examples=[{"image_ids": ["019b2f6e-0000-7000-8000-000000000000"]}],
    )


STREAM = {"text/event-stream": {"schema": {"type": "string"}}}
LAST_EVENT_ID: Any = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "Of the last event that was received: the answer begins with the next. Browsers send it.",
    "schema": {"type": "string", "pattern": r"^\d{1,19}$"},
}


@bp.get("/v1/events")
@bp.input(EventsQuery, location="query", arg_name="query")
@bp.doc(responses={200: {"description": "Server-sent events", "content": STREAM}, **problems(404)})
def follow_events(query: EventsQuery) -> Response:
    """Follow what happens to jobs, images and models, as server-sent events.

    Each event has an `id`, its type as `event`, and JSON as `data`: `{id, type, timestamp, collection, data}`. Without
    `Last-Event-ID` or `after` it begins with what happens from now on. An event `events.missed` says that older ones
    were removed before they could be sent. A key for some collections follows theirs alone.
    """
    interest = _interest(query)
    seen = _last_seen()  # before `after`: a browser that connects again has both
    after = query.after if seen is None else seen
    published, pruned = _bounds()
    if after is None:
        after = published
    elif after > published:  # of before a backup was restored
        after = pruned
    head = f"retry: {RETRY_MS}\nid: {max(after, pruned)}\n\n".encode()
    if after < pruned:
        head += missed_message(after, pruned) if after else b""
        after = pruned
    goes_on: Callable[[Callable[[Stream], object]], None] | None = request.environ.get(GOES_ON)
    response = Response(content_type="text/event-stream")
    response.headers |= {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if request.method == "HEAD":
        return response
    if query.follow and goes_on is not None:
        feed().check_room()
        who, position = caller(), after
        session_hash = digest(who.token) if who.token else None
        goes_on(lambda stream: feed().add(Follower(stream, interest, position, who.key_id, session_hash), published))
        response.response = iter([head])  # no list, whose length would be announced
    else:
        response.response = _kept(head, interest, after, published)
    return response


def _interest(query: EventsQuery) -> Interest:
    """Raises NotFound, Forbidden for what the caller may not see."""
    if query.job_id is not None:
        check_job(query.job_id)
    names = reach() if query.collection is None else frozenset({within(query.collection)})
    return Interest(frozenset(query.types) or None, names, query.job_id)


def _last_seen() -> int | None:
    given = request.headers.get("Last-Event-ID", "")
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and int(given[:20]) <= LARGEST):
        raise InvalidInput("Last-Event-ID is not the id of an event: they are whole numbers.")
    return int(given[:20])


def _bounds() -> tuple[int, int]:
    """The last published and the last removed position, once all that is committed is published."""
    while True:
        with transaction() as session:
            if not publish_events(session):
                return bounds(session)


def _kept(head: bytes, interest: Interest, after: int, until: int) -> Iterator[bytes]:
    """The events that are there, in pages."""
    yield head
    while after < until:
        with transaction() as session:
            found = read_events(session, interest, after=after, until=until, limit=PAGE)
        yield b"".join(map(as_message, found))
        after = found[-1].position if len(found) == PAGE else until
