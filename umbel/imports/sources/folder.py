"""A folder on the server."""

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from umbel_files.kinds import START, kind_of
from umbel_files.names import has_image_suffix, may_be_image, printable
from umbel_files.skipping import skipped_path
from umbel_files.walking import DEEPEST, LEADS_BACK, LEADS_NOWHERE, LINKED_TWICE, TOO_DEEP

from umbel.base.descent import (
    FILE,
    FOLDER,
    LINKS,
    closing,
    descended,
    fault,
    reason,
    sorted_names,
    unlistable,
)
from umbel.base.errors import FileTooLarge, ImageError, TransientError, Unreachable, Unreadable, UnsafePath
from umbel.base.in_place import Location, version_of_file
from umbel.base.roots import below_root, folder_below_root, quoted, unquoted, unsafe
from umbel.base.settings import Settings
from umbel.imports.sources.source import Entry, Original, Skipped

COARSEST_TICK = 2.0  # seconds: the times of FAT
LEADS_OUT = (
    "The link leads out of the import roots of this server: copy what it leads to, or add that to UMBEL_IMPORT_ROOTS."
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a listing is. path: from the imported folder on; after: what is left of the position to go on behind.

    linked: whether a link led here.
    """

    path: str
    after: Sequence[str] = ()
    linked: bool = False


class Folder:
    """The images below a folder, in the order of their paths, part by part.

    Names are compared by their bytes, so the order is the same everywhere. What is not meant to be a picture
    (`skipped_path`), FIFOs, sockets and devices are skipped. Links are followed within the import roots, see `_linked`.
    """

    def __init__(self, path: str, settings: Settings, *, include_hidden: bool = False) -> None:
        """Raises SourceError when there is no such folder below an import root."""
        root, parts = folder_below_root(path, settings.import_roots)
        self._max_bytes, self._roots = settings.max_bytes, settings.import_roots
        self._path, self._include_hidden = os.path.join(root, *parts), include_hidden
        try:
            self._folder = descended(os.open(root, FOLDER), parts)
        except OSError as error:
            raise unlistable(error, f"The folder {path!r}") from error

    def entries(self, after: str | None = None) -> Iterator[Entry | Skipped]:
        try:
            # Opened again, not duplicated: duplicates share their position in the folder with other listings.
            folder = os.open(".", FOLDER, dir_fd=self._folder)
            yield from self._walk(folder, _Place("", unquoted(after).split("/") if after else []))
        except OSError as error:
            raise unlistable(error, "The folder") from error

    def read(self, locator: str) -> bytes:
        return self.read_original(locator).data

    def read_original(self, locator: str) -> Original:
        """The bytes of an entry, and where they are. Raises as `read` does."""
        path = unquoted(locator)
        if why := unsafe(path):
            raise UnsafePath(f"The path {why}.")
        try:
            with closing(self._opened(path)) as file:
                found = os.fstat(file)
                if not stat.S_ISREG(found.st_mode):
                    raise Unreadable("It is no regular file.")
                data = self._bytes_of(file)
                location = self._location(path, found)
                if self._location(path, os.fstat(file)) != location:
                    raise TransientError("The file was being changed while it was read.")
                return Original(data, location)
        except OSError as error:
            if error.errno == errno.EIO:  # may pass; listing does not wait for it: one bad file would stop all others
                raise Unreachable(f"The file cannot be read now: {reason(error)}.") from error
            raise fault(error) from error

    def close(self) -> None:
        os.close(self._folder)

    def _bytes_of(self, file: int) -> bytes:
        with os.fdopen(file, "rb", closefd=False) as stream:
            data = stream.read(self._max_bytes + 1)
        if len(data) > self._max_bytes:
            raise FileTooLarge(f"The file has more than the {self._max_bytes:,} bytes that are taken.")
        return data

    def _opened(self, path: str) -> int:
        """The open file at a path, which may lead over links. Raises OSError, UnsafePath."""
        *folders, name = path.split("/")
        try:
            with closing(descended(os.dup(self._folder), folders)) as folder:
                return os.open(name, FILE, dir_fd=folder)
        except OSError as error:
            if error.errno not in LINKS:
                raise
        root, parts = self._behind(path)
        with closing(descended(os.open(root, FOLDER), parts[:-1])) as folder:
            return os.open(parts[-1] if parts else ".", FILE, dir_fd=folder)

    def _behind(self, path: str) -> tuple[str, list[str]]:
        """Where a path over links leads to, as the import root and the parts below it. Raises UnsafePath.

        From there no link is followed any more: one that is swapped in meanwhile leads nowhere.
        """
        if (found := below_root(os.path.realpath(os.path.join(self._path, path)), self._roots)) is None:
            raise UnsafePath(LEADS_OUT)
        return found

    def _walk(self, folder: int, place: _Place) -> Iterator[Entry | Skipped]:
        """The files below an open folder, which is closed in the end."""
        with closing(folder):
            first = place.after[0] if place.after else None
            for name in sorted_names(folder, first):
                after = place.after[1:] if name == first else ()
                if after or name != first:
                    yield from self._visited(folder, name, replace(place, path=f"{place.path}{name}", after=after))

    def _visited(self, folder: int, name: str, place: _Place) -> Iterator[Entry | Skipped]:
        position, shown = quoted(place.path), printable(place.path)
        try:
            if not self._include_hidden and skipped_path(place.path, os.path.basename(self._path)):
                yield Skipped(position, shown, hidden=True)
            elif stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                yield from self._linked(place)
            else:
                yield from self._found(folder, name, place)
        except FileNotFoundError:
            return  # deleted while the folder was being listed
        except ImageError as error:
            yield Entry(position, shown, position, rejected=error)
        except OSError as error:
            yield Entry(position, shown, position, rejected=fault(error))

    def _linked(self, place: _Place) -> Iterator[Entry | Skipped]:
        """What a link leads to. Raises UnsafePath, OSError.

        A linked folder that is listed where it lies is skipped here. Links to folders are followed once, not inside a
        linked folder: so none leads round in a circle, and a listing has an end.
        """
        root, parts = self._behind(place.path)
        try:
            folder = descended(os.open(root, FOLDER), parts[:-1])
        except FileNotFoundError:
            raise UnsafePath(LEADS_NOWHERE) from None
        name = parts[-1] if parts else "."
        with closing(folder):
            try:
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            except FileNotFoundError:
                raise UnsafePath(LEADS_NOWHERE) from None
            if stat.S_ISDIR(mode) and self._is_listed(os.path.join(root, *parts), place):
                yield Skipped(quoted(place.path), printable(place.path))
            else:
                yield from self._found(folder, name, replace(place, linked=True))

    def _is_listed(self, real: str, place: _Place) -> bool:
        """Whether the folder that a link leads to is listed without it. Raises UnsafePath: do not follow it."""
        if f"{self._path.rstrip('/')}/{place.path}".startswith(f"{real.rstrip('/')}/"):
            raise UnsafePath(LEADS_BACK)
        if place.linked:
            raise UnsafePath(LINKED_TWICE)
        if not real.startswith(f"{self._path.rstrip('/')}/"):
            return False
        inside = os.path.relpath(real, self._path)
        return self._include_hidden or not skipped_path(inside, os.path.basename(self._path))

    def _found(self, folder: int, name: str, place: _Place) -> Iterator[Entry | Skipped]:
        """A file or folder that is no link. Raises OSError, ImageError."""
        position, shown = quoted(place.path), printable(place.path)
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            raise UnsafePath(LEADS_BACK)
        if stat.S_ISDIR(found.st_mode):
            if place.path.count("/") >= DEEPEST:
                raise Unreadable(TOO_DEEP)
            below = os.open(name, FOLDER, dir_fd=folder)
            yield from self._walk(below, replace(place, path=f"{place.path}/"))
        elif not stat.S_ISREG(found.st_mode) or not self._is_image(folder, name, place.path):
            yield Skipped(position, shown)
        elif found.st_size > self._max_bytes:
            raise FileTooLarge(f"The file has {found.st_size:,} bytes; at most {self._max_bytes:,} are taken.")
        else:
            yield Entry(position, shown, position, location=self._settled(place.path, found))

    def _settled(self, path: str, found: os.stat_result) -> Location | None:
        """None for what was changed just now: it may be changed once more within the same tick of the file system."""
        settled = abs(time.time() - found.st_mtime) > COARSEST_TICK  # or the file server has another clock
        return self._location(path, found) if settled else None

    def _location(self, path: str, found: os.stat_result) -> Location:
        return Location.of(os.path.join(self._path, path), version_of_file(found))

    def _is_image(self, folder: int, name: str, called: str) -> bool:
        """By the suffix that it is `called` by, without reading it; else by its first bytes. Raises OSError."""
        if has_image_suffix(called):
            if not os.access(name, os.R_OK, dir_fd=folder, effective_ids=True):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return True
        if not may_be_image(called):
            return False
        with closing(os.open(name, FILE, dir_fd=folder)) as file:
            return kind_of(os.read(file, START)) is not None
