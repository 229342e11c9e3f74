"""What does decoding in child processes cost, compared with as many threads?

Pictures a second from file bytes to pixels; the CPU time of one, in this process and its children; small tasks a
second; and the milliseconds that a small task takes when nothing else is to do. Process pools of others stand beside
ours: the standard library's, which gives up every picture when one child dies, and pebble's, if it is installed.
"""

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from statistics import mean, median
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]

from benchmarks.common import interleaved, own_home, seconds, spread, write

IMAGES = 256
SMALL_TASKS = 1000
IDLE_TASKS = 100
PAUSE_SECONDS = 0.002  # between two of these, so that everybody has gone to sleep

Submit = Callable[[bytes], Future[Any]]

small: Callable[[bytes], Any] = partial(
    np.frombuffer, dtype=np.uint8
)  # a microsecond of work, known by its name in any process


def main() -> None:
    with own_home() as home, ExitStack() as pools:
        from garden import draw_garden  # noqa: PLC0415
        from ml.preprocess import Preprocessing  # noqa: PLC0415
        from ml.threads import decoding_processes  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415 - read at the first use, so the home comes first
        from worker.decoders import WorkerDecoders  # noqa: PLC0415

        files = [path.read_bytes() for path in draw_garden(home / "garden", species=16, per_species=IMAGES // 16)]
        began = time.perf_counter()
        ours = pools.enter_context(WorkerDecoders(Preprocessing(), settings()))
        ours.inspect(files[0]).result()
        start_seconds = time.perf_counter() - began
        others = _others(pools, decoding_processes(settings()))
        decode = partial(Preprocessing().decode, limits=settings())
        decoding = {name: partial(submit, decode) for name, submit in others.items()} | {"ours": ours.decode}
        answer = _images(decoding, files)
        children = [psutil.Process(pid).memory_full_info() for pid in ours.pids()]
        ours_small = pools.enter_context(WorkerDecoders(Preprocessing(), settings(), decode=small))
        answer |= _small_tasks(
            {name: partial(submit, small) for name, submit in others.items()} | {"ours": ours_small.decode}
        )
    write(
        "decoders",
        {
            "children": len(children),
            "start_seconds": round(start_seconds, 2),
            "child_rss_megabytes": max(child.rss for child in children) // 10**6,
            "child_own_megabytes": max(child.uss for child in children) // 10**6,
            **answer,
        },
    )


def _others(pools: ExitStack, children: int) -> dict[str, Callable[..., Future[Any]]]:
    """submit(function, argument) of each pool to compare with."""
    forkserver = get_context("forkserver")
    others: dict[str, Callable[..., Future[Any]]] = {
        "threads": pools.enter_context(ThreadPoolExecutor(children)).submit,
        "executor": pools.enter_context(ProcessPoolExecutor(children, mp_context=forkserver)).submit,
    }
    if find_spec("pebble"):
        pebble = importlib.import_module("pebble").ProcessPool(children, context=forkserver)
        pools.callback(pebble.join)
        pools.callback(pebble.stop)
        others["pebble"] = lambda work, data: pebble.schedule(work, args=[data], timeout=30)
    return others


def _images(pools: Mapping[str, Submit], files: Sequence[bytes]) -> dict[str, object]:
    taken = interleaved(**{name: partial(finish, submit, files) for name, submit in pools.items()})
    return {
        "pictures": len(files),
        "mean_kilobytes": round(mean(map(len, files)) / 1000, 1),
        "images_per_second": {name: spread([len(files) / each for each in times]) for name, times in taken.items()},
        "of_threads": {
            name: spread([threads / each for threads, each in zip(taken["threads"], times, strict=True)])
            for name, times in taken.items()
        },
        "cpu_milliseconds": {name: _cpu_milliseconds(submit, files) for name, submit in pools.items()},
    }


def _small_tasks(pools: Mapping[str, Submit]) -> dict[str, object]:
    taken = interleaved(**{name: partial(finish, submit, [b"abc"] * SMALL_TASKS) for name, submit in pools.items()})
    return {
        "small_tasks_per_second": {
            name: spread([SMALL_TASKS / each for each in times]) for name, times in taken.items()
        },
        "idle_milliseconds": {name: spread(_idle_milliseconds(submit)) for name, submit in pools.items()},
    }


def finish(submit: Submit, files: Sequence[bytes]) -> None:
    """All of them at once, and wait."""
    for answer in [submit(data) for data in files]:
        answer.result()


def _cpu_milliseconds(submit: Submit, files: Sequence[bytes]) -> float:
    """Of one picture: clocks tick a hundred times a second, so a few thousand pictures are needed."""
    rounds = 4
    before = _cpu_seconds()
    for _ in range(rounds):
        finish(submit, files)
    return round((_cpu_seconds() - before) / len(files) / rounds * 1000, 3)


def _cpu_seconds() -> float:
    me = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (me, *me.children(recursive=True)))


def _idle_milliseconds(submit: Submit) -> list[float]:
    """Medians of a few series, one task at a time."""
    series = []
    for _ in range(5):
        times = []
        for _ in range(IDLE_TASKS):
            time.sleep(PAUSE_SECONDS)
            times.append(seconds(lambda: submit(b"abc").result()) * 1000)
        series.append(median(times))
    return series


if __name__ == "__main__":
    main()
