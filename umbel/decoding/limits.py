"""What bounds a picture and its decoding. A decoder's process gets these numbers, and nothing else of the settings."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from umbel.base.settings import Settings


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
        return cls(**{name: getattr(settings, name) for name in cls.__slots__})
