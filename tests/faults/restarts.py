"""Processes that are told to end, as an operator or an orchestrator does, under load."""

import signal
import time

import psutil

from tests.faults.schedule import Fault
from tests.faults.target import NoTarget, Scene
from tests.processes import eventually

ORDER = ("worker", "scheduler", "api")  # of a rolling restart
# How each is told. Postgres: "fast"; at SIGTERM it would wait for its clients to leave.
SIGNALS = {
    "worker": signal.SIGTERM,
    "scheduler": signal.SIGTERM,
    "api": signal.SIGTERM,
    "redis": signal.SIGTERM,
    "postgres": signal.SIGINT,
}
# Compose and Kubernetes wait so long before they kill: a worker may have to store its batch into a database that is
# away because of another fault.
STOP_SECONDS = 60
READY_SECONDS = 90


def terminate(scene: Scene, fault: Fault) -> None:
    """SIGTERM to one of the processes that the supervisor keeps."""
    _stop(scene, list(SIGNALS)[int(fault.pick * len(SIGNALS))])


def roll(scene: Scene, fault: Fault) -> None:
    """SIGTERM to one after the other, each when the one before it is ready again."""
    for name in ORDER:
        ended = _stop(scene, name)
        eventually(
            lambda name=name, ended=ended: _ready(scene, name, ended) or scene.stop.is_set(),  # type: ignore[misc]
            within=READY_SECONDS,
        )


def restart(scene: Scene, fault: Fault) -> None:
    """`umbel down`, `umbel up --detach`."""
    scene.target.umbel("down")
    scene.stop.wait(min(fault.seconds, 2))
    scene.target.up()


def _stop(scene: Scene, name: str) -> int:
    """Tell it to end and wait until it has. Returns its former number. Raises AssertionError if it does not end."""
    process = scene.target.process(name)
    children = process.children(recursive=True)
    try:
        process.send_signal(SIGNALS[name])
    except psutil.NoSuchProcess as error:
        raise NoTarget(f"{name} has just ended") from error
    began = time.monotonic()
    _, left = psutil.wait_procs([process], timeout=STOP_SECONDS)
    assert not left, f"{name} has not ended {time.monotonic() - began:.0f} s after {SIGNALS[name].name}"
    _, left = psutil.wait_procs(children, timeout=STOP_SECONDS)
    assert not left, f"{name} has ended, and left running {[child.cmdline()[:4] for child in left]}"
    return process.pid


def _ready(scene: Scene, name: str, former: int) -> bool:
    return any(
        service.name == name and service.state == "ready" and service.pid not in (None, former)
        for service in scene.target.status().services
    )
