"""OpenTelemetry traces for those who want them: one trace from a request to the stored vector.

Does nothing unless UMBEL_TRACE_ENDPOINT is set and `umbel[tracing]` is installed. A trace travels as a W3C
`traceparent`: it comes in with a request, is kept with the job, and the spans of workers are hung below it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog

from umbel.base.settings import Settings

log = structlog.get_logger()

_tracer: Any = None  # opentelemetry.trace.Tracer, or None where nothing is traced
_inside: ContextVar[str | None] = ContextVar("traceparent", default=None)


def configure_tracing(settings: Settings, service: str) -> None:
    """Send the spans of this process to the collector of the settings, if there is one. service: api or worker."""
    global _tracer  # noqa: PLW0603 - one a process, like its log
    if settings.trace_endpoint is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio  # noqa: PLC0415
    except ImportError:
        log.warning("nothing is traced: UMBEL_TRACE_ENDPOINT is set, but umbel[tracing] is not installed")
        return
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(settings.trace_ratio),
        resource=Resource.create({"service.name": f"umbel-{service}"}),
    )
    exporter = OTLPSpanExporter(endpoint=f"{settings.trace_endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("umbel")


def begin(name: str, parent: str | None) -> Any:
    """A span that lasts until `end`, below `parent` if there is one; None where nothing is traced."""
    return _tracer.start_span(name, _context(parent)) if _tracer else None


def end(span: Any, name: str, **attributes: str | int) -> None:
    """End what `begin` gave, under the name that is known by now."""
    if span is not None:
        span.update_name(name)
        span.set_attributes(attributes)
        span.end()


def traceparent_of(span: Any) -> str | None:
    """The span as others refer to it; None for none, and for one that is not sampled."""
    if span is None or not span.get_span_context().trace_flags.sampled:
        return None
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


@contextmanager
def within(traceparent: str | None) -> Iterator[None]:
    """What is started in here belongs to this trace, wherever it is done."""
    token = _inside.set(traceparent)
    try:
        yield
    finally:
        _inside.reset(token)


def inside() -> str | None:
    """The traceparent that this is within."""
    return _inside.get()


def record(name: str, traceparent: str | None, seconds: float, **attributes: str | int) -> None:
    """A span that has just ended after `seconds`. Nothing where there is no trace."""
    if _tracer is None or traceparent is None:
        return
    now = time.time_ns()
    span = _tracer.start_span(name, _context(traceparent), attributes=attributes, start_time=now - round(seconds * 1e9))
    span.end(now)


def _context(traceparent: str | None) -> Any:
    """OpenTelemetry's context for a parent elsewhere; a malformed one begins a trace of its own."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent} if traceparent else {})
