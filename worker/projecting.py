"""Compute a map in a process of its own: it takes a core for a minute, and running out of memory ends it alone."""

import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection

from ml.projection import project
from umbel.base.errors import TransientError
from umbel.base.types import Plane, Vectors

POLL_SECONDS = 1.0  # between two checks of whether the map is still wanted
NICENESS = 10  # behind all other work of this machine


def project_apart(vectors: Vectors, unwanted: Callable[[], bool]) -> Plane | None:
    """umbel.insights.projection.Project: `ml.projection.project`, ended within a second when `unwanted` says so (None).

    Raises TransientError when the process dies.
    """
    context = get_context("spawn")  # never a fork: other threads of the worker hold locks
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True, name="map")
    process.start()
    theirs.close()
    try:
        ours.send(vectors)
        while not ours.poll(POLL_SECONDS):
            if unwanted():
                return None
        points: Plane | Exception = ours.recv()
    except (EOFError, OSError) as error:
        raise TransientError("The process that laid out the map died; there may be too little memory.") from error
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(points, Exception):
        raise TransientError(f"The map could not be laid out: {points}")
    return points


def _work(pipe: Connection) -> None:
    os.nice(NICENESS)
    with suppress(EOFError, OSError):  # the worker is gone
        vectors = pipe.recv()
        try:
            pipe.send(project(vectors))
        except Exception as error:
            pipe.send(error)
