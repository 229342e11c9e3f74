"""What a run stops at: the service answered otherwise than the reference model says."""

from typing import Any


class Mismatch(Exception):
    """concerns: ids and names by which the operations before it are picked out."""

    def __init__(self, said: str, *concerns: object) -> None:
        super().__init__(said)
        self.concerns = [str(one) for one in concerns if one]


def expect(what: str, found: Any, *allowed: Any, about: tuple[object, ...] = (), answer: Any = None) -> None:
    """Raise Mismatch unless `found` is one of `allowed`."""
    if found not in allowed:
        wanted = " or ".join(map(repr, allowed))
        seen = "" if answer is None else f"\n  the answer: {answer.status} {answer.body!r:.1500}"
        raise Mismatch(f"{what} is {found!r:.1500}, where the model has {wanted:.1500}{seen}", *about)
