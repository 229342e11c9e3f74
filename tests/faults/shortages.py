"""What a stack runs out of: room on a disk, memory, workers for its searches."""

import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import psutil
import psycopg

from stack.postgres import SUPERUSER
from tests.faults.disks import Disk
from tests.faults.images import image_bytes
from tests.faults.schedule import Fault
from tests.faults.target import NoTarget, Scene, children
from tests.processes import frozen

MB = 2**20
SEARCHERS = 64
PATHS = ("/healthz", "/readyz", "/metrics")
ANSWER_SECONDS = 2.0  # they take milliseconds; two cores are busy, and with other things, too


def fill_disk(scene: Scene, fault: Fault) -> None:
    """No room for anything but blobs: Postgres and its log, Redis, what is sent, logs.

    Half of the time the room that Postgres keeps for its log is used up, too: it panics then.
    """
    with _mounted(scene.target.disk).full():
        if fault.pick < 0.5:
            _use_up_log(scene, fault)
        scene.stop.wait(fault.seconds)


def fill_blob_disk(scene: Scene, fault: Fault) -> None:
    """No room for blobs."""
    with _mounted(scene.target.blob_disk).full():
        scene.stop.wait(fault.seconds)


def limit_memory(scene: Scene, fault: Fault) -> None:
    """The worker gets no more memory than it has, and a little."""
    worker = scene.target.process("worker")
    _, hard = worker.rlimit(resource.RLIMIT_AS)
    worker.rlimit(resource.RLIMIT_AS, (worker.memory_info().vms + int(fault.pick * 64) * MB, hard))
    scene.stop.wait(fault.seconds)
    with suppress(psutil.NoSuchProcess):  # it gave up, and there is a new one
        worker.rlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, hard))


def stop_workers(scene: Scene, fault: Fault) -> None:
    """All workers stand still, more searches wait than the API has threads, and it says all the same how it is.

    Raises AssertionError if it does not.
    """
    worker = scene.target.process("worker")
    over = threading.Event()
    with ThreadPoolExecutor(SEARCHERS) as pool, frozen([worker, *children(worker)]):
        waiting = [pool.submit(_search, scene, fault.seed, over) for _ in range(SEARCHERS)]
        try:
            slow = _asked(scene, fault.seconds)
        finally:
            over.set()
        del waiting
    assert not slow, f"while all searches wait: {', '.join(slow)}"


def _search(scene: Scene, seed: int, over: threading.Event) -> None:
    """Search again and again; the answer does not matter, if only it is one."""
    data = image_bytes(seed, 0)
    with httpx.Client(base_url=scene.target.url, timeout=30, trust_env=False) as http:
        while not over.wait(0.1):
            with suppress(httpx.HTTPError):
                http.post("/v1/search", files={"file": ("picture", data)}, data={"collection": scene.collection})


def _asked(scene: Scene, seconds: float) -> list[str]:
    """Ask for each of PATHS for so long. Returns what was slow, or no answer, in words."""
    slow = []
    until = time.monotonic() + seconds
    with httpx.Client(base_url=scene.target.url, timeout=30, trust_env=False) as http:
        while time.monotonic() < until and not scene.stop.wait(0.3):
            for path in PATHS:
                began = time.monotonic()
                try:
                    found = str(http.get(path).status_code)
                except httpx.HTTPError as error:
                    found = type(error).__name__
                took = time.monotonic() - began
                if took > ANSWER_SECONDS or found not in ("200", "503"):
                    slow.append(f"{path} {found} after {took:.1f} s")
    return slow


def _mounted(disk: Disk | None) -> Disk:
    if disk is None or not disk.mounted:
        raise NoTarget("nothing may be mounted here")
    return disk


def _use_up_log(scene: Scene, fault: Fault) -> None:
    """Begin segments of Postgres's log until there is no room for another, or it is away."""
    until = time.monotonic() + fault.seconds
    with suppress(psycopg.Error):
        where = {"host": str(scene.target.settings.socket_dir), "user": SUPERUSER, "dbname": "umbel"}
        with psycopg.connect(**where, autocommit=True, connect_timeout=2) as admin:
            while time.monotonic() < until and not scene.stop.wait(0.05):
                admin.execute("SELECT pg_logical_emit_message(false, 'faults', 'full'), pg_switch_wal()")
