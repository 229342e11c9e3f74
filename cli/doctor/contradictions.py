"""Settings that contradict each other, or what is on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from cli.doctor.finding import Finding, error, ok, warning
from umbel.base.errors import StackError
from umbel.base.settings import Settings, is_loopback, unknown_settings

CHECK = "settings"


def check_settings(settings: Settings) -> Iterator[Finding]:
    """One finding for each contradiction; else one that there is none."""
    found = [*_access(settings), *_places(settings), *_numbers(settings)]
    yield from found or [ok(CHECK, "No setting contradicts another.")]


def _access(settings: Settings) -> Iterator[Finding]:
    for unknown in unknown_settings():
        yield warning(CHECK, unknown, "Correct the name, or unset it: nothing reads it.")
    try:
        settings.refuse_to_be_open()
    except StackError as refused:
        yield error(
            CHECK, f"{str(refused).partition(':')[0]}.", "Set UMBEL_REQUIRE_KEYS=true, or UMBEL_HOST=127.0.0.1."
        )
    if settings.proxies and not settings.allowed_hosts:
        yield warning(
            CHECK,
            "UMBEL_PROXIES is set and UMBEL_ALLOWED_HOSTS is not: requests under the public name get 400.",
            "Set UMBEL_ALLOWED_HOSTS to the names that the proxy is called by.",
        )
    if settings.cors_origins and not settings.require_keys:
        yield warning(
            CHECK,
            "UMBEL_CORS_ORIGINS is set, and without UMBEL_REQUIRE_KEYS those pages may do everything.",
            "Set UMBEL_REQUIRE_KEYS=true.",
        )


def _places(settings: Settings) -> Iterator[Finding]:
    if settings.database_url and not settings.redis_url:
        yield warning(
            CHECK,
            "UMBEL_DATABASE_URL names a Postgres, and Redis is the embedded one in UMBEL_HOME, for this machine alone.",
            "Set UMBEL_REDIS_URL, if processes on other machines share the database.",
        )
    if settings.redis_url and not settings.database_url:
        yield warning(
            CHECK,
            "UMBEL_REDIS_URL names a Redis, and Postgres is the embedded one in UMBEL_HOME, for this machine alone.",
            "Set UMBEL_DATABASE_URL, if processes on other machines share the Redis.",
        )
    if settings.database_direct_url and not settings.database_url:
        yield error(
            CHECK,
            "UMBEL_DATABASE_DIRECT_URL is set without UMBEL_DATABASE_URL: they would be two databases.",
            "Set UMBEL_DATABASE_URL to the pooler before that database, or unset the other.",
        )
    for root in settings.import_roots:
        if not root.startswith("s3://") and not Path(root).is_dir():
            yield warning(
                CHECK, f"UMBEL_IMPORT_ROOTS names {root}, which is no folder here.", "Mount it, or remove it."
            )


def _numbers(settings: Settings) -> Iterator[Finding]:
    if settings.hang_seconds <= settings.decode_seconds:
        yield error(
            CHECK,
            f"UMBEL_HANG_SECONDS ({settings.hang_seconds:g}) ends a worker before a picture may take its"
            f" UMBEL_DECODE_SECONDS ({settings.decode_seconds:g}).",
            "Let UMBEL_HANG_SECONDS be several times as long.",
        )
    if settings.sweep_seconds >= settings.lease_seconds:
        yield warning(
            CHECK,
            f"The sweep comes every {settings.sweep_seconds:g} s, and leases end after {settings.lease_seconds:g} s:"
            " what a dead worker left waits longer than it need.",
            "Let UMBEL_SWEEP_SECONDS be shorter than UMBEL_LEASE_SECONDS.",
        )
    if settings.max_bytes > settings.archive_bytes:
        yield warning(
            CHECK,
            f"UMBEL_MAX_BYTES ({settings.max_bytes:,}) is more than a whole archive may have"
            f" (UMBEL_ARCHIVE_BYTES, {settings.archive_bytes:,}).",
            "Let UMBEL_ARCHIVE_BYTES be the larger one.",
        )
    if settings.runtime == "openvino" and settings.device not in ("auto", "cpu"):
        yield error(
            CHECK,
            f"UMBEL_RUNTIME=openvino runs on a CPU, and UMBEL_DEVICE is {settings.device}.",
            "Set one of them to auto.",
        )
    if settings.metrics_port and settings.metrics_port == settings.port:
        yield error(CHECK, "UMBEL_METRICS_PORT is the API's UMBEL_PORT.", "Set another UMBEL_METRICS_PORT.")
    if settings.metrics_port and not is_loopback(settings.metrics_host):
        yield ok(CHECK, f"A worker's metrics are served on {settings.metrics_host}, without a key.")
    if settings.trace_endpoint and find_spec("opentelemetry") is None:
        yield error(
            CHECK,
            "UMBEL_TRACE_ENDPOINT is set and OpenTelemetry is not installed.",
            "Install umbel[tracing], or unset it.",
        )
