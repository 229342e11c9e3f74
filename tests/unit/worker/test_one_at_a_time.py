"""However often a worker is woken, one thread works, and it looks again for what came meanwhile."""

import threading
from concurrent.futures import ThreadPoolExecutor

from worker.handlers import OneAtATime


def test_a_ring_during_the_work_makes_it_run_once_more() -> None:
    started, go_on = threading.Event(), threading.Event()
    runs: list[int] = []

    def work() -> None:
        runs.append(len(runs))
        started.set()
        assert go_on.wait(5)

    only = OneAtATime(work)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(only.run)
        assert started.wait(5)
        for _ in range(3):
            only.run()  # returns at once: another thread is at it
        go_on.set()
        first.result(5)
    assert runs == [0, 1]


def test_it_never_runs_twice_at_a_time_and_never_misses_the_last_ring() -> None:
    inside, most, seen = 0, 0, 0
    rung = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal inside, most, seen
        with lock:
            inside += 1
            most = max(most, inside)
            seen = rung
        with lock:
            inside -= 1

    only = OneAtATime(work)

    def wake(_: int) -> None:
        nonlocal rung
        with lock:
            rung += 1
        only.run()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(wake, range(500)))
    assert (most, seen) == (1, 500)


def test_an_error_leaves_it_usable() -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("broken")

    only = OneAtATime(work)
    for _ in range(2):
        try:
            only.run()
        except ValueError:
            continue
    assert len(calls) == 2
