"""How soon after its commit is an event heard?

Run `python -m benchmarks.events`: the whole stack as processes. From the return of the commit that wrote an event
until a listener of GET /v1/events, and a webhook's receiver, both in this process, have it; each event is written when
the one before it has arrived. First with nothing else to do, then beside imports. burst: as many events committed
together, until the last has arrived.
"""

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any

from benchmarks.common import own_home, whole_stack, write
from benchmarks.images import draw

EVENTS = 200
IMAGES = 96  # of an import
LOOK_SECONDS = 0.001


def main() -> None:
    with own_home() as home:
        folder = home / "pictures"
        draw(folder, IMAGES)
        os.environ |= {"UMBEL_IMPORT_ROOTS": str(folder), "UMBEL_PRIVATE_HOSTS": "127.0.0.1"}
        with whole_stack():
            write("events", _answer(str(folder)))


def _answer(folder: str) -> dict[str, object]:
    from umbel_client import Umbel  # noqa: PLC0415 - settings are read at the first use, so the home comes first

    from umbel.base.settings import settings  # noqa: PLC0415
    from umbel.base.types import JobType  # noqa: PLC0415

    with Umbel(f"http://127.0.0.1:{settings().port}") as api:
        idle = _measured(api)
        importing, numbers = threading.Event(), count()

        def load() -> None:
            while not importing.is_set():
                work = api.imports.folder(folder, collection=f"block-{next(numbers)}")
                while not importing.is_set() and not api.jobs.get(work.job_id, wait=1).finished:
                    pass

        with ThreadPoolExecutor(1) as pool:
            going = pool.submit(load)
            try:
                while not any(job.status == "running" for job in api.jobs.list(type=JobType.IMPORT)):
                    time.sleep(0.1)
                busy = _measured(api)
            finally:
                importing.set()
            going.result()
        return {"events": EVENTS, "idle": idle, "beside_imports": busy}


def _measured(api: Any) -> dict[str, object]:
    """Milliseconds from a commit until SSE and a webhook bring the event; and events a second of a burst."""
    from tests.receiver import receiving  # noqa: PLC0415

    heard: dict[int, float] = {}
    with receiving() as [receiver], _following(api, heard):
        hook = api.webhooks.create(receiver.url, types=["model.*"])
        committed = {}
        for number in range(EVENTS):
            committed[number] = _write(number)
            _wait(lambda number=number: number in heard and len(receiver.received) > number)  # type: ignore[misc]
        brought = {one.event["data"]["number"]: one.at for one in receiver.received}
        began = _write(*range(EVENTS, 2 * EVENTS))
        _wait(lambda: len(heard) >= 2 * EVENTS and len(receiver.received) >= 2 * EVENTS)
        ends = {"sse": max(heard.values()), "webhook": max(one.at for one in receiver.received)}
        api.webhooks.delete(hook.id)
    ways = {"sse": heard, "webhook": brought}
    return {
        way: {
            **_percentiles([1000 * (at[number] - committed[number]) for number in committed]),
            "burst_per_second": round(EVENTS / (ends[way] - began)),
        }
        for way, at in ways.items()
    }


@contextmanager
def _following(api: Any, heard: dict[int, float]) -> Iterator[None]:
    """Take down when each number is heard."""
    begun = threading.Event()

    def follow() -> None:
        for event in api.events(types=["model.*"]):
            number = event.data["number"]
            begun.set()
            if number >= 0:
                heard.setdefault(number, time.perf_counter())
            if number >= 2 * EVENTS - 1:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    while not begun.wait(0.1):
        _write(-1)
    yield
    thread.join(30)


def _write(*numbers: int) -> float:
    """Write events in one transaction; when its commit returned."""
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.base.types import EventType  # noqa: PLC0415
    from umbel.events.log import insert_event  # noqa: PLC0415

    with transaction() as session:
        for number in numbers:
            insert_event(session, EventType.MODEL_SWITCHED, {"number": number})
    return time.perf_counter()


def _wait(done: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "events do not arrive"
        time.sleep(LOOK_SECONDS)


def _percentiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {
        f"{name}_ms": round(each, 2) for name, each in (("p50", cuts[49]), ("p99", cuts[98]), ("longest", max(values)))
    }


if __name__ == "__main__":
    main()
