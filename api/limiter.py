"""Counting calls in Redis, for all processes of the API.

Without Redis no call is rejected, and a metric counts those that were not limited. Flask-Limiter would then count in
each process by itself, or wait for Redis in each request, and report neither.
"""

import time
from functools import cache

import structlog
from limits import RateLimitItem
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import RedisError

from umbel.base.metrics import UNLIMITED
from umbel.base.settings import settings

log = structlog.get_logger()

TIMEOUT_SECONDS = 0.25
PAUSE_SECONDS = 5.0  # after Redis did not answer, before it is asked again


class Limiter:
    """Counts calls over a sliding window."""

    def __init__(self, redis_url: str) -> None:
        options = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
        url = redis_url.replace("unix://", "redis+unix://", 1)  # as `limits` spells it
        self._storage = RedisStorage(url, key_prefix="umbel-rate", **options)  # type: ignore[arg-type]
        self._counter = SlidingWindowCounterRateLimiter(self._storage)
        self._silent_until = 0.0

    def wait_of(self, limit: RateLimitItem, who: str, *, count: bool = True, calls: int = 1) -> float | None:
        """None when `who` may go on; else the seconds to wait. count: False only looks; calls: how many these are."""
        if time.monotonic() < self._silent_until:
            UNLIMITED.inc()
            return None
        try:
            if (self._counter.hit if count else self._counter.test)(limit, who, cost=calls):
                return None
            return max(0.0, self._counter.get_window_stats(limit, who).reset_time - time.time())
        except (RedisError, OSError) as error:
            self._silent_until = time.monotonic() + PAUSE_SECONDS
            UNLIMITED.inc()
            log.warning("calls are not counted: Redis does not answer", error=str(error))
            return None

    def forget(self) -> None:
        """Forget all calls so far."""
        self._storage.reset()


@cache
def limiter() -> Limiter:
    """The limiter of this process's settings."""
    return Limiter(settings().redis)
