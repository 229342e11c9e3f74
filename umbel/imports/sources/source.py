"""What every source of a bulk import can do: be listed from anywhere on, and be read in any order."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from umbel.base.errors import ImageError


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that may be a picture.

    position: opaque; `entries(after=position)` goes on behind it, in any later process.
    name: its path in the source, for people: valid Unicode without NUL, at most `names.LONGEST` characters.
    locator: all that `read` needs to find it in a source opened from the same spec; ASCII text.
    refused: why it must not or cannot be read, where listing already shows it.
    """

    position: str
    name: str
    locator: str
    label: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    rejected: ImageError | None = None


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Something that is by its looks no picture: counted, not imported."""

    position: str
    name: str


class Source(Protocol):
    """An opened source. One thread lists it at a time; any number of threads read from it."""

    def entries(self, after: str | None = None) -> Iterator[Entry | PassedOver]:
        """Everything in the source, in an order that stays the same; behind the position `after`, if given.

        Raises SourceError when the list cannot be completed, after all that could be listed; TransientError.
        """
        ...

    def read(self, locator: str) -> bytes:
        """The bytes of an entry, at most `max_bytes`. Thread-safe. Raises ImageError, TransientError."""
        ...

    def close(self) -> None: ...
