"""Decoding for the API: in child processes of its own, which start with the first image that needs them."""

from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from typing import Any, BinaryIO, TypeVar

from api import rooms
from umbel.base.settings import settings
from umbel.base.types import ImageInfo
from umbel.decoding.images import quick_look
from umbel.decoding.pool import DecoderPool, Priority

CHILDREN = 2  # of each API process: one large picture must not hold up all thumbnails

T = TypeVar("T")


class _Decoders(DecoderPool):
    """Takes so many images at once: callers wait for their results, each with a thread of the API."""

    def submit(
        self,
        job: str,
        image: bytes | str,
        read: Callable[[list[Any], bytearray], T],
        *arguments: Any,
        out: BinaryIO | None = None,
        priority: Priority = Priority.BATCH,
    ) -> Future[T]:
        """As of any pool. Raises Busy."""
        place = rooms.decodes().take()
        future = super().submit(job, image, read, *arguments, out=out, priority=priority)
        future.add_done_callback(lambda _: rooms.decodes().leave(place))
        return future


@cache
def decoders() -> DecoderPool:
    """The ones of this process."""
    return _Decoders(CHILDREN, settings())


def looked_at(data: bytes) -> ImageInfo:
    """What an image is, and that it decodes. Raises ImageError, DecoderDied, TransientError, Busy."""
    return quick_look(data, settings()) or decoders().inspect(data).result()
