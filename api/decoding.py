"""Decoding for the API: in child processes of its own, which start with the first image that needs them."""

from functools import cache

from api import rooms
from umbel.base.settings import settings
from umbel.base.types import ImageInfo
from umbel.decoding.images import quick_look
from umbel.decoding.pool import DecoderPool

CHILDREN = 2  # of each API process: one large picture must not hold up all thumbnails


@cache
def decoders() -> DecoderPool:
    """The ones of this process. Callers wait with a thread of the API, so they take a place in one of `rooms`."""
    return DecoderPool(CHILDREN, settings())


def looked_at(data: bytes) -> ImageInfo:
    """What an image is, and that it decodes. Raises ImageError, DecoderDied, TransientError, Busy."""
    if info := quick_look(data, settings()):
        return info
    with rooms.decodes().place():
        return decoders().inspect(data).result()
