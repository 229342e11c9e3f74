"""Letting one stage of work run ahead of the next."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_END = object()


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items in the same order, each computed on a thread of its own while its forerunner is being used.

    At most one item waits, so memory stays bounded. What `items` raises is raised here, in its turn.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as stage:
        coming = stage.submit(next, iterator, _END)
        while (item := coming.result()) is not _END:
            coming = stage.submit(next, iterator, _END)
            yield item  # type: ignore[misc]
