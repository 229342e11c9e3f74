"""What bounds a picture and its decoding. A decoder's process gets these numbers, and nothing else of the settings."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from umbel.base.machine import memory

if TYPE_CHECKING:
    from umbel.base.settings import Settings

DECODE_MEMORY = 2**31  # bytes; the costliest pictures of 40 megapixels needed three quarters of it
LEAST_DECODE_MEMORY = 2**28


class Limits(Protocol):
    """What a picture may be, as `Settings` describes it."""

    @property
    def max_bytes(self) -> int: ...
    @property
    def max_pixels(self) -> int: ...
    @property
    def min_side(self) -> int: ...


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """What a decoder's process knows. Bytes, pixels, pixels, seconds, bytes."""

    max_bytes: int
    max_pixels: int
    min_side: int
    decode_seconds: float
    decode_memory: int

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        """Of the settings. Where memory is left open there, a quarter of the container's is left to others."""
        known = {name: getattr(settings, name) for name in cls.__slots__}
        room = max(LEAST_DECODE_MEMORY, min(DECODE_MEMORY, memory() * 3 // 4))
        return cls(**known | {"decode_memory": settings.decode_memory or room})
