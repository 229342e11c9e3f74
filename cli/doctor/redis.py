"""Redis: reachable, and set so that it neither forgets nor refuses messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from cli.doctor.finding import Finding, error, mib, ok, warning
from umbel.base.settings import Settings

SECONDS = 5


def check_redis(settings: Settings) -> Iterator[Finding]:
    """What Redis says of itself."""
    try:
        with Redis.from_url(settings.redis, socket_timeout=SECONDS, socket_connect_timeout=SECONDS) as redis:
            redis.ping()
            info: dict[str, Any] = redis.info()
    except (AuthenticationError, NoPermissionError) as refused:
        yield error("redis", f"Redis refuses: {refused}", "Set user and password right in UMBEL_REDIS_URL.")
        return
    except (RedisError, OSError) as gone:
        start = "Start Redis, or set host and port right in UMBEL_REDIS_URL."
        stack = "Start the stack: `umbel up --detach`; its log is in UMBEL_HOME/logs."
        yield error("redis", f"Redis cannot be reached: {gone}", start if settings.redis_url else stack)
        return
    yield ok("redis", f"Redis {info['redis_version']} answers.")
    yield _memory(info)
    yield _persistence(info)


def _memory(info: dict[str, Any]) -> Finding:
    policy, most, used = info.get("maxmemory_policy", "noeviction"), info.get("maxmemory", 0), info["used_memory"]
    if not most:
        return ok("redis memory", f"{mib(used)} in use, without a limit.")
    found = f"{mib(used)} of {mib(most)} in use, {policy}."
    if policy != "noeviction":
        return error(
            "redis memory", f"{found} Messages are thrown away when it is full.", "Set maxmemory-policy noeviction."
        )
    if used > 0.9 * most:
        return warning("redis memory", found, "Raise maxmemory: a full Redis refuses messages.")
    return ok("redis memory", found)


def _persistence(info: dict[str, Any]) -> Finding:
    if info.get("role") == "slave":
        return error("redis persistence", "This Redis is a replica and takes no writes.", "Name the primary.")
    if "ok" not in (info.get("rdb_last_bgsave_status", "ok"), "") or info.get("aof_last_write_status", "ok") != "ok":
        return error(
            "redis persistence", "Redis could not write its data, so it may refuse messages.", "See to its disk."
        )
    kind = "append-only file" if info.get("aof_enabled") else "snapshots at most"
    return ok("redis persistence", f"{kind.capitalize()}. What is lost is found again in the ledger by the sweep.")
