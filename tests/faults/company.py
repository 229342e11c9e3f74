"""Processes beside the stack's own: a worker whose clock is wrong, and an API and a worker behind bad wires."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from stack.services import answers
from tests.faults.proxy import Proxy
from tests.faults.schedule import Fault
from tests.faults.target import NoTarget, Scene
from tests.processes import UMBEL, free_port

SKEWED = (sys.executable, "-P", str(Path(__file__).with_name("skewed.py")))
READY_SECONDS = 60  # a worker loads a model, on cores that are busy
LOOK_SECONDS = 0.1
# For a process told to stop: a worker waits up to 45 s for a database that is away, to store its batch, and Compose and
# Kubernetes give it 60. In seed 48 the supervisor is killed while Postgres recovers from a killed backend; all of it
# is up again after 50 s.
STOP_SECONDS = 60


class Guest:
    """A process of Umbel that the supervisor does not know; started again if it ends by itself, as a container is."""

    def __init__(self, scene: Scene, name: str, command: Sequence[str], **environment: str) -> None:
        self._scene = scene
        self._command = command
        self._log = scene.target.settings.home / "logs" / f"{name}.log"
        self._environment = {**scene.target.environment, **environment}
        self._process = self._started()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # with all that it started
        self._process.wait()

    def keep(self) -> None:
        """Start it again if it has ended."""
        if self._process.poll() is not None:
            self._process = self._started()

    def stop(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        self._process.wait(STOP_SECONDS)

    def _started(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                start_new_session=True, cwd=os.getcwd(),
            )  # fmt: skip


def skewed_worker(scene: Scene, fault: Fault) -> None:
    """A second worker, two hours ahead, takes part from when it is ready, and is killed."""
    name = f"skewed-{fault.seed}"
    with Guest(scene, "skewed-worker", (*SKEWED, "worker", "--name", name)) as guest:
        wait_until_ready(scene, [guest], worker=name)
        serve(scene, [guest], fault.seconds)


def cut_connections(scene: Scene, fault: Fault) -> None:
    """A second API and a second worker, whose connections to Postgres and Redis are cut at random moments."""
    rng = random.Random(fault.seed)
    sockets = scene.target.settings.socket_dir
    port = free_port()
    with ExitStack() as stack:
        postgres = stack.enter_context(Proxy(sockets / ".s.PGSQL.5432"))
        redis = stack.enter_context(Proxy(sockets / "redis.sock"))
        environment = {
            "UMBEL_DATABASE_URL": f"postgresql+psycopg://umbel@127.0.0.1:{postgres.port}/umbel",
            "UMBEL_REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            "UMBEL_PORT": str(port),
        }
        api = stack.enter_context(Guest(scene, "proxied-api", (*UMBEL, "api"), **environment))
        name = f"proxied-{fault.seed}"
        worker = (*UMBEL, "worker", "--name", name)
        guests = [api, stack.enter_context(Guest(scene, "proxied-worker", worker, **environment))]
        wait_until_ready(scene, guests, worker=name, port=port)
        stack.enter_context(scene.clients.also_at(f"http://127.0.0.1:{port}"))
        until = time.monotonic() + fault.seconds
        while time.monotonic() < until and not scene.stop.is_set():
            serve(scene, guests, rng.uniform(0.2, 2))
            proxy = rng.choice((postgres, redis))
            refusing = rng.random() < 0.4
            proxy.refuse(refusing)
            proxy.cut(rng, rng.choice((0.3, 1)))
            serve(scene, guests, rng.uniform(1, 2) if refusing else 0)
            proxy.refuse(False)
        if fault.pick < 0.5:
            guests[1].stop(signal.SIGTERM)  # else it is killed with what it holds


def serve(scene: Scene, guests: Sequence[Guest], seconds: float) -> None:
    """Let the guests take part for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not scene.stop.wait(LOOK_SECONDS):
        for guest in guests:
            guest.keep()


def wait_until_ready(scene: Scene, guests: Sequence[Guest], *, worker: str, port: int | None = None) -> None:
    """Wait until the worker of that name has taken its place and the API at that port answers. Raises NoTarget."""
    until = time.monotonic() + READY_SECONDS
    settings = scene.target.settings.model_copy(update={"port": port or scene.target.port})
    while time.monotonic() < until and not scene.stop.wait(LOOK_SECONDS):
        for guest in guests:
            guest.keep()
        if scene.target.has_worker(worker) and answers(settings, "/healthz"):
            return
    if not scene.stop.is_set():
        raise NoTarget(f"{worker} is not ready after {READY_SECONDS} s")  # one that never took part tells nothing
