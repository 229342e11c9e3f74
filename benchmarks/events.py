"""How soon after its commit is an event heard, and what do events cost imports and uploads?

Run `python -m benchmarks.events`: the whole stack as processes. latency_ms: from the return of the commit that wrote an
event until a listener of GET /v1/events, and a webhook's receiver, both in this process, have it; one event after the
other, first with nothing else to do, then beside an import. without: the same imports (of a folder) and uploads (by
clients that send one after the other) with the triggers that write events disabled, by turns. events_an_image: written.
"""

import argparse
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any

from sqlalchemy import text

from benchmarks.common import BLOCKS, interleaved, own_home, spread, whole_stack, write
from benchmarks.events_ledger import switch
from benchmarks.images import draw
from benchmarks.uploads import CLIENTS, Client, drawn_jpegs, request

EVENTS = 200  # of which the time is taken, each time
PAUSE_SECONDS = 0.02
EACH = 4  # uploads of a client in a block
LOOK_SECONDS = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96, help="of an import")
    images = parser.parse_args().images
    with own_home() as home:
        folder = home / "pictures"
        draw(folder, images)
        os.environ |= {"UMBEL_IMPORT_ROOTS": str(folder), "UMBEL_PRIVATE_HOSTS": "127.0.0.1"}
        with whole_stack():
            write("events", _answer(str(folder), images))


def _answer(folder: str, images: int) -> dict[str, object]:
    from umbel_client import Umbel  # noqa: PLC0415 - settings are read at the first use, so the environment comes first

    from umbel.base.settings import settings  # noqa: PLC0415

    with Umbel(f"http://127.0.0.1:{settings().port}") as api:
        numbers = count()

        def load() -> None:
            api.imports.folder(folder, collection=f"block-{next(numbers)}").wait()

        load()  # the worker has its model in memory
        idle = _latencies(api)
        importing = threading.Event()

        def load_on() -> None:
            while not importing.is_set():
                load()

        with ThreadPoolExecutor(1) as pool:
            going = pool.submit(load_on)
            try:
                busy = _latencies(api)
            finally:
                importing.set()
            going.result()
        return {
            "latency_ms": {"idle": idle, "beside_an_import": busy},
            **_costs(settings().port, load, images),
        }


def _latencies(api: Any) -> dict[str, object]:
    """Milliseconds from a commit until SSE and a webhook bring the event."""
    from tests.receiver import receiving  # noqa: PLC0415

    heard: dict[str, dict[int, float]] = {"sse": {}, "webhook": {}}
    with receiving() as [receiver], _following(api, heard["sse"]):
        hook = api.webhooks.create(receiver.url, types=["model.*"])
        committed = {}
        for number in range(EVENTS):
            committed[number] = _write(number)
            time.sleep(PAUSE_SECONDS)
        _wait(lambda: len(heard["sse"]) >= EVENTS and len(receiver.received) >= EVENTS)
        heard["webhook"] = {one.event["data"]["number"]: one.at for one in receiver.received}
        api.webhooks.delete(hook.id)
    took = {way: [1000 * (at[number] - committed[number]) for number in committed] for way, at in heard.items()}
    return {way: _percentiles(values) for way, values in took.items()}


@contextmanager
def _following(api: Any, heard: dict[int, float]) -> Iterator[None]:
    """Take down when each number is heard."""
    begun = threading.Event()

    def follow() -> None:
        for event in api.events(types=["model.*"]):
            heard.setdefault(event.data["number"], time.perf_counter())
            begun.set()
            if event.data["number"] >= EVENTS - 1:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    while not begun.wait(0.1):
        _write(-1)
    yield
    thread.join(30)
    heard.pop(-1, None)


def _write(number: int) -> float:
    """Write an event; when its commit returned."""
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.base.types import EventType  # noqa: PLC0415
    from umbel.events.log import insert_event  # noqa: PLC0415

    with transaction() as session:
        insert_event(session, EventType.MODEL_SWITCHED, {"number": number})
    return time.perf_counter()


def _wait(done: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "events do not arrive"
        time.sleep(LOOK_SECONDS)


def _percentiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2), "longest": round(max(values), 2)}


def _costs(port: int, load: Callable[[], None], images: int) -> dict[str, object]:
    """Imports and single uploads, with and without the triggers."""
    from umbel.base.database import engine  # noqa: PLC0415

    own = engine().execution_options(isolation_level="AUTOCOMMIT")
    jpegs, numbers = drawn_jpegs(320), count()
    written: dict[str, list[int]] = {"import": [], "uploads": []}
    with ThreadPoolExecutor(CLIENTS) as pool, own.connect() as connection:

        def events() -> int:
            return int(connection.scalar(text("SELECT coalesce(max(seq), 0) FROM event")) or 0)

        def upload() -> None:
            before = events()
            sent = [[request(jpegs, next(numbers)) for _ in range(EACH)] for _ in range(CLIENTS)]
            clients = [Client(port) for _ in range(CLIENTS)]
            list(pool.map(Client.send_all, clients, sent))
            while connection.scalar(text("SELECT count(*) FROM job_item WHERE state = 'pending'")):
                time.sleep(LOOK_SECONDS)
            for client in clients:
                client.close()
            written["uploads"].append(events() - before)

        def bring() -> None:
            before = events()
            load()
            written["import"].append(events() - before)

        taken = interleaved(
            lambda name: switch(connection, on=not name.endswith("without")),
            import_with=bring,
            import_without=bring,
            uploads_with=upload,
            uploads_without=upload,
        )
        switch(connection, on=True)
    sizes = {"import": images, "uploads": CLIENTS * EACH}
    return {
        what: {
            "images": size,
            "events_an_image": round(max(written[what]) / size, 3),
            "with_per_second": spread([size / each for each in taken[f"{what}_with"]]),
            "without_per_second": spread([size / each for each in taken[f"{what}_without"]]),
            "time_with_over_without": spread(
                [one / other for one, other in zip(taken[f"{what}_with"], taken[f"{what}_without"], strict=True)]
            ),
        }
        for what, size in sizes.items()
    } | {"blocks": BLOCKS}


if __name__ == "__main__":
    main()
