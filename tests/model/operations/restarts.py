"""Processes ended while the run goes on: in good order or by SIGKILL; the supervisor starts them again."""

import random
import signal
import threading
import time
from contextlib import suppress

import psutil

from tests.faults.target import NoTarget
from tests.model.run import Run

APART_SECONDS = 8  # for each part: the supervisor waits longer from time to time for one that keeps dying
PARTS = ("worker", "worker", "worker", "api", "api", "scheduler", "redis")


def restart(run: Run, rng: random.Random) -> str | None:
    """End one part, within the next half second: during one of the next operations."""
    part, how = rng.choice(PARTS), rng.choice((signal.SIGTERM, signal.SIGKILL))
    delay = rng.uniform(0, 0.5)
    if time.monotonic() - run.ended.get(part, -APART_SECONDS) < APART_SECONDS:
        return None
    run.ended[part] = time.monotonic()

    def end() -> None:
        with suppress(NoTarget, psutil.Error):
            run.target.process(part).send_signal(how)

    timer = threading.Timer(delay, end)
    timer.daemon = True
    timer.start()
    return f"end {part} by {how.name} in {delay:.2f} s"
