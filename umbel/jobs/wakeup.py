"""Waking workers. A wake-up says "there is work in this queue" and carries nothing that could be lost."""

import time
from functools import cache

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from umbel.base.metrics import FAILED_WAKEUPS
from umbel.base.settings import settings
from umbel.base.types import Queue

log = structlog.get_logger()

# Redis may be gone or frozen; an upload must not wait for it longer than this, nor each one again.
TIMEOUT_SECONDS = 0.5
PAUSE_SECONDS = 2.0

TRANSPORT = {
    "socket_timeout": 5.0,
    "socket_connect_timeout": TIMEOUT_SECONDS,
    # Redis does not keep a message until it is acknowledged: the sweep wakes again for work left behind, and a message
    # whose acknowledgement fails would count against what a worker may hold. After seven it would hear nothing more.
    "ack_emulation": False,
}

TASK = "umbel.work"  # the one Celery task, called by name: a producer needs no import of the worker


class Waker:
    """Wakes workers through Redis, by the name of a queue."""

    def __init__(self, broker: str, redis_url: str) -> None:
        self._celery = Celery("umbel-waker", broker=broker, set_as_current=False)
        self._celery.conf.update(
            broker_transport_options={**TRANSPORT, "socket_timeout": TIMEOUT_SECONDS},
            broker_connection_retry=False,
            task_ignore_result=True,
            task_serializer="json",
            accept_content=["json"],
        )
        self._redis = Redis.from_url(
            redis_url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=None
        )
        self._silent_until = 0.0

    def wake(self, queue: Queue) -> bool:
        """Ask for a worker in `queue`. True if one is sure to come; False when Redis cannot be reached.

        Call it after the commit: a wake-up that still waits in the queue is answered later than now, by a worker that
        sees all that is committed now. So one that waits is enough, whatever the load.
        """
        if time.monotonic() < self._silent_until:
            return False
        try:
            if not self._redis.llen(queue):
                self._celery.send_task(TASK, queue=queue, kwargs={"queue": queue}, retry=False)
        except (RedisError, OperationalError, OSError) as error:
            self._silent_until = time.monotonic() + PAUSE_SECONDS
            FAILED_WAKEUPS.inc()
            log.warning("no worker can be woken, the sweep will try later", queue=queue, error=str(error))
            return False
        return True

    def ping(self) -> bool:
        """Whether Redis answers."""
        try:
            return bool(self._redis.ping())
        except (RedisError, OSError):
            return False


@cache
def waker() -> Waker:
    """The waker of this process's settings."""
    return Waker(settings().broker, settings().redis)
