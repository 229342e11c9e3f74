"""The audit log: whatever an administrator changes is written down before it is done, and then how it ended."""

from typing import Any

import structlog
from flask import Response, g, request

from api.caller import caller
from umbel.access import audit
from umbel.access.audit import NewEvent
from umbel.base.database import transaction
from umbel.base.errors import UmbelError

log = structlog.get_logger()


def begin() -> None:
    """Write down what is about to be done. What cannot be written down is not done: raises NotReady."""
    who = caller()
    event = NewEvent(
        actor=who.name,
        api_key_id=who.key_id,
        action=request.endpoint or "",
        target=request.path,
        request_id=g.request_id,
        address=request.remote_addr,
    )
    with transaction() as session:
        g.audit_event = audit.insert_event(session, event)


def note(**details: Any) -> None:
    """Add to what is written down of the present request."""
    g.audit_details = details


def end(response: Response) -> Response:
    """Add the answer's status. Should that fail, the event stays without one."""
    if event_id := g.get("audit_event"):
        try:
            with transaction() as session:
                audit.finish_event(session, event_id, response.status_code, g.get("audit_details", {}))
        except UmbelError as error:
            log.warning("the end of an audited request was not written down", error=error.detail)
    return response
