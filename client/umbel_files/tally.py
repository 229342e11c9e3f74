"""What was not taken, in words that tell people whether their pictures are among it."""

from collections import Counter
from collections.abc import Mapping

from umbel_files.kinds import Kind
from umbel_files.names import suffix

MOST_SUFFIXES = 5
MOST_KINDS = 50  # that are told apart


class Tally:
    """Counts files that were not taken: pictures by their kind, all others by their suffix."""

    def __init__(self, others: Mapping[str, int] | None = None) -> None:
        """others: files counted before, as `counts` told of them, none of them a picture."""
        self._pictures: Counter[str] = Counter()
        self._others: Counter[str] = Counter(others)

    def add(self, name: str, kind: Kind | None, *, hidden: bool = False) -> None:
        """Count the file of this name. kind: None, it is no picture; hidden: it is not meant to be one."""
        if kind is not None:
            self._pictures[kind] += 1
            return
        what = "hidden" if hidden else f".{suffix(name)}" if suffix(name) else "without suffix"
        self._others[what if what in self._others or len(self._others) < MOST_KINDS else "of more kinds"] += 1

    @property
    def total(self) -> int:
        return self._pictures.total() + self._others.total()

    def counts(self) -> dict[str, int]:
        """By kind or suffix, pictures first, then what there is most of."""
        return dict((*self._pictures.most_common(), *self._others.most_common()))

    def __str__(self) -> str:
        """Such as "5 JPEG XL, 3 other files (2 .json, 1 .html)"."""
        parts = [f"{count:,} {kind}" for kind, count in self._pictures.most_common()]
        if others := self._others.total():
            some = [f"{count:,} {kind}" for kind, count in self._others.most_common(MOST_SUFFIXES)]
            more = [f"{len(self._others) - MOST_SUFFIXES} more kinds"] if len(self._others) > MOST_SUFFIXES else []
            files = "file" if others == 1 else "files"
            parts.append(f"{others:,} {'other ' if parts else ''}{files} ({', '.join(some + more)})")
        return ", ".join(parts)
