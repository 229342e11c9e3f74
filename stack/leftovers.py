"""Processes of a stack whose supervisor was killed: found and ended, without ever touching a stranger's."""

import os
import signal
from contextlib import suppress

import psutil  # type: ignore[import-untyped]

from stack.postgres import Postgres
from stack.process import end_processes
from stack.redis import Redis
from stack.state import PartStatus, find_process, read_state
from umbel.base.settings import Settings

WARM_SECONDS = 20


def clear_leftovers(settings: Settings) -> bool:
    """End what a killed supervisor has left running. For the holder of the lock only. Returns whether there was any."""
    left = [process for part in read_state(settings).parts for process in _apps_left(part)]
    end_processes(left, signal.SIGTERM, WARM_SECONDS)
    redis_left = Redis(settings.home, settings.socket_dir).clear_leftovers()
    postgres_left = Postgres(settings.home, settings.socket_dir).clear_leftovers()
    return bool(left) or redis_left or postgres_left


def _apps_left(part: PartStatus) -> list[psutil.Process]:
    """The part's process, if it still is that one, and what it forked: same session, same command line.

    The servers end their own children and are looked for by their data folder.
    """
    if part.pid is None or part.name in ("postgres", "redis"):
        return []
    leader = find_process(part.pid, part.created)
    found = [leader] if leader else []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            forked = process.pid != part.pid and os.getsid(process.pid) == part.pid
            if forked and tuple(process.cmdline()) == part.command:
                found.append(process)
    return found
