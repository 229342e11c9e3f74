"""Letting one stage of work run ahead of the next."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_END = object()


def ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """The same items in the same order, each computed on a thread of its own while its forerunner is being used.

    At most one item waits, so memory stays bounded. What `items` raises is raised here, in its turn.
    """
    return map_ahead(lambda item: item, items)


def map_ahead(work: Callable[[T], R], items: Iterable[T], *, at_once: int = 1) -> Generator[R, None, None]:
    """work(item) of each item, on threads of their own while an earlier result is being used.

    At most `at_once` results are being made or wait, so memory stays bounded. They come in about the order of the
    items: in that order exactly if at_once is 1. `items` may block; it is asked from these threads, one at a time.
    What it or `work` raises is raised here, in its turn, and ends all.
    """
    iterator = iter(items)
    door = threading.Lock()

    def step() -> R | object:
        with door:
            item = next(iterator, _END)
        return _END if item is _END else work(item)  # type: ignore[arg-type]

    with ThreadPoolExecutor(at_once, thread_name_prefix="ahead") as stage:
        coming = deque(stage.submit(step) for _ in range(at_once))
        while coming:
            result = coming.popleft().result()
            if result is not _END:
                coming.append(stage.submit(step))
                yield result  # type: ignore[misc]
