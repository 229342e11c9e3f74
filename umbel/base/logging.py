"""Logging for every process: readable lines, or JSON lines for machines. Never pictures, vectors or secrets."""

import logging
import sys

import structlog
from structlog.contextvars import get_contextvars
from structlog.typing import EventDict

from umbel.base.escaping import escaped
from umbel.base.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Send structlog and the standard library's loggers to stderr in one format."""
    level = logging.getLevelNamesMapping().get(settings.log_level.upper(), logging.INFO)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]
        if settings.log_json
        else [_escape, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    # Through the standard library, whose handlers survive a line that cannot be written: the log's disk may be full.
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for talkative in ("httpx", "alembic", "celery"):  # one line for each request, revision or task
        logging.getLogger(talkative).setLevel(max(level, logging.WARNING))


def _escape(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Names and paths that callers chose can neither forge a line of the log nor steer the terminal that shows it."""
    for key, value in line.items():
        if key in ("exception", "stack"):  # of several lines
            line[key] = "\n".join(map(escaped, str(value).split("\n")))
        elif not isinstance(value, int | float | None):
            line[key] = escaped(value)
    return line


def request_id() -> str | None:
    """The id of the request that is being answered in this context; jobs keep it for the log lines of workers."""
    return get_contextvars().get("request_id")


def traceparent() -> str | None:
    """The trace that the request belongs to, as W3C Trace Context spells it; None if it is not traced."""
    return get_contextvars().get("traceparent")
