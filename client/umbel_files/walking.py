"""The files of a folder on this machine, by the rules that the server follows for its own folders."""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum, auto
from pathlib import Path

from umbel_files.kinds import MEDIA_TYPES, START, Kind, kind_of
from umbel_files.names import has_image_suffix, may_be_image
from umbel_files.skipping import skipped_path

DEEPEST = 100  # folders inside one another
TOO_DEEP = f"The folder lies more than {DEEPEST} folders deep."
LEADS_NOWHERE = "The link leads nowhere: repair it, or delete it."
LEADS_BACK = "The link leads back to itself or to a folder that it lies in: delete it."
LINKED_TWICE = "Links to folders are not followed inside a linked folder: import what it leads to by itself."
HIDDEN = "It is hidden, or kept there by the system or a program."
LISTED_ELSEWHERE = "The link leads to a folder that is taken where it lies."
NO_PICTURE = "It is no picture."


class Outcome(StrEnum):
    """What becomes of a file. A folder is only named where it is skipped or rejected as a whole."""

    TAKEN = auto()
    SKIPPED = auto()
    REJECTED = auto()


@dataclass(frozen=True, slots=True)
class Found:
    """name: its path below what was walked, with slashes, as the system has it; reason: unless it is taken.

    kind: of a picture that is rejected for it.
    """

    path: Path
    name: str
    outcome: Outcome = Outcome.TAKEN
    reason: str = ""
    kind: Kind | None = None


def walk(top: Path, *, include_hidden: bool = False) -> Iterator[Found]:
    """All files in and below a folder, in the order of their names' bytes; a file by itself.

    Links to files are followed, and once those to folders that are not walked anyway: so none leads round in a circle.
    What cannot be read is rejected, and the rest goes on. include_hidden: also what `skipped_path` tells of.
    """
    if os.path.isdir(top):  # false where Path.is_dir raises: behind a closed folder
        yield from _Walk(top, include_hidden).below("", linked=False)
        return
    try:
        yield Found(top, top.name, *_outcome(top, ""))
    except OSError as error:
        yield Found(top, top.name, Outcome.REJECTED, _why(error))


class _Walk:
    def __init__(self, top: Path, include_hidden: bool) -> None:
        self._top, self._include_hidden = top, include_hidden
        self._real = os.path.realpath(top)

    def below(self, inside: str, *, linked: bool) -> Iterator[Found]:
        """inside: a path below the top that ends with a slash, or nothing; linked: whether a link led there."""
        try:
            names = sorted(os.listdir(self._top / inside), key=os.fsencode)
        except OSError as error:
            yield self._found(inside.rstrip("/"), Outcome.REJECTED, _why(error))
            return
        for name in names:
            yield from self._visited(f"{inside}{name}", linked)

    def _visited(self, name: str, linked: bool) -> Iterator[Found]:
        path = self._top / name
        if self._is_skipped(name):
            yield self._found(name, Outcome.SKIPPED, HIDDEN)
            return
        try:
            if not stat.S_ISDIR(path.stat().st_mode):
                yield self._found(name, *_outcome(path, name))
            elif refused := _is_link(path) and self._refused(name, linked):
                yield refused
            elif name.count("/") >= DEEPEST:
                yield self._found(name, Outcome.REJECTED, TOO_DEEP)
            else:
                yield from self.below(f"{name}/", linked=linked or _is_link(path))
        except OSError as error:
            if _is_link(path) or not isinstance(error, FileNotFoundError):  # else it was deleted meanwhile
                yield self._found(name, Outcome.REJECTED, _why(error))

    def _refused(self, name: str, linked: bool) -> Found | None:
        """Why a link to a folder is not followed; None: it is."""
        real = os.path.realpath(self._top / name)
        if f"{self._real.rstrip('/')}/{name}".startswith(f"{real.rstrip('/')}/"):
            return self._found(name, Outcome.REJECTED, LEADS_BACK)
        if linked:
            return self._found(name, Outcome.REJECTED, LINKED_TWICE)
        if real.startswith(f"{self._real.rstrip('/')}/") and not self._is_skipped(os.path.relpath(real, self._real)):
            return self._found(name, Outcome.SKIPPED, LISTED_ELSEWHERE)
        return None

    def _is_skipped(self, name: str) -> bool:
        return not self._include_hidden and skipped_path(name, os.path.basename(self._real))

    def _found(self, name: str, outcome: Outcome, reason: str, kind: Kind | None = None) -> Found:
        return Found(self._top / name, name, outcome, reason, kind)


def _outcome(path: Path, name: str) -> tuple[Outcome, str, Kind | None]:
    """What becomes of a file, and why. name: empty for one that was asked for by itself. Raises OSError."""
    if not stat.S_ISREG(path.stat().st_mode) or not may_be_image(name):
        return Outcome.SKIPPED, NO_PICTURE, None
    with path.open("rb") as file:
        kind = kind_of(file.read(START))
    if kind is None and not has_image_suffix(path.name):
        return Outcome.SKIPPED, NO_PICTURE, None
    if kind is None or kind in MEDIA_TYPES:
        return Outcome.TAKEN, "", None  # whether it is whole is told when it is read
    return Outcome.REJECTED, f"{kind} is not supported yet.", kind


def _is_link(path: Path) -> bool:
    """Junctions are how Windows links folders; Python knows them from 3.12 on."""
    return os.path.islink(path) or getattr(os.path, "isjunction", lambda _: False)(path)


def _why(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ELOOP):
        return LEADS_NOWHERE if error.errno == errno.ENOENT else LEADS_BACK
    return f"It cannot be read: {(error.strerror or type(error).__name__).lower()}."
