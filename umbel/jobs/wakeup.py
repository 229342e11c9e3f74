"""Ringing for a worker. A ring says "there is work in this lane" and carries nothing that could be lost."""

import time
from functools import cache

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from umbel.base.metrics import SILENT_DOORBELLS
from umbel.base.settings import settings
from umbel.base.types import Lane, TaskName

log = structlog.get_logger()

# Redis may be gone or frozen; an upload must not wait for it longer than this, nor each one again.
TIMEOUT_SECONDS = 0.5
PAUSE_SECONDS = 2.0

TRANSPORT = {
    "socket_timeout": 5.0,
    "socket_connect_timeout": TIMEOUT_SECONDS,
    # Redis does not keep a ring until it is acknowledged: the sweep rings again for work left behind, and a ring whose
    # acknowledgement fails would count against what a worker may hold. Seven such, and it would be deaf for ever.
    "ack_emulation": False,
}

TASKS = {
    Lane.QUERY: TaskName.EMBED_QUERIES,
    Lane.SINGLE: TaskName.EMBED_ITEMS,
    Lane.BULK: TaskName.EMBED_ITEMS,
    Lane.FETCH: TaskName.FETCH_ITEMS,
    Lane.INDEX: TaskName.BUILD_INDEX,
    Lane.COMPARE: TaskName.COMPARE_ITEMS,
    Lane.REINDEX: TaskName.REINDEX,
    Lane.DELETE: TaskName.DELETE_ITEMS,
    Lane.MAP: TaskName.DRAW_MAPS,
}


class Doorbell:
    """Rings by queue name, so that whoever rings needs no import of the worker."""

    def __init__(self, broker: str, redis_url: str) -> None:
        self._celery = Celery("umbel-doorbell", broker=broker, set_as_current=False)
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

    def ring(self, lane: Lane) -> bool:
        """Ask for a worker in `lane`. True if one is sure to come; False when Redis cannot be reached.

        Call it after the commit: a ring that is still waiting in the queue will be answered later than now, and
        whoever answers it sees all that is committed now. So one waiting ring is enough, whatever the load.
        """
        if time.monotonic() < self._silent_until:
            return False
        try:
            if not self._redis.llen(lane):
                self._celery.send_task(TASKS[lane], queue=lane, kwargs={"lane": lane}, retry=False)
        except (RedisError, OperationalError, OSError) as error:
            self._silent_until = time.monotonic() + PAUSE_SECONDS
            SILENT_DOORBELLS.inc()
            log.warning("doorbell is silent, the sweep will ring later", lane=lane, error=str(error))
            return False
        return True

    def ping(self) -> bool:
        """Whether Redis answers."""
        try:
            return bool(self._redis.ping())
        except (RedisError, OSError):
            return False


@cache
def doorbell() -> Doorbell:
    """The doorbell of this process's settings."""
    return Doorbell(settings().broker, settings().redis)
