"""The audit log: each change by an administrator is recorded before it runs, and its outcome afterwards."""

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
    """Record the request before it runs. Raises NotReady where it cannot be recorded, so that it does not run."""
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
    """Add details to the record of this request."""
    g.audit_details = details


def end(response: Response) -> Response:
    """Add the answer's status to the record. If that fails, the record stays without one."""
    if event_id := g.get("audit_event"):
        try:
            with transaction() as session:
                audit.finish_event(session, event_id, response.status_code, g.get("audit_details", {}))
        except UmbelError as error:
            log.warning("the outcome of an audited request was not recorded", error=error.detail)
    return response
