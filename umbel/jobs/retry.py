"""Storing what was worked for, though the database may be restarting."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from umbel.base.errors import NotReady, TransientError

log = structlog.get_logger()

T = TypeVar("T")

PATIENCE_SECONDS = 45.0  # below the lease of what is stored
PAUSE_SECONDS = 0.5


def retry_transient(store: Callable[[], T]) -> T:
    """What `store`, a whole transaction, returns; tried again while the database is away or others are in its way."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return store()
        except (NotReady, TransientError) as error:
            if time.monotonic() > deadline:
                raise
            log.warning("storing waits", error=error.detail)
            time.sleep(PAUSE_SECONDS)
