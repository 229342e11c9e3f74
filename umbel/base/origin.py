"""Where work comes from: the request that asked for it. Jobs keep it, for the log lines of workers."""

from structlog.contextvars import get_contextvars


def request_id() -> str | None:
    """The id of the request that is being answered in this context; None outside of any."""
    return get_contextvars().get("request_id")


def traceparent() -> str | None:
    """The trace that the request belongs to, as W3C Trace Context spells it; None if it is not traced."""
    return get_contextvars().get("traceparent")
