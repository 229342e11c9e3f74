"""A folder on the server. Each step down is an openat that follows no link, so no link can be swapped in meanwhile."""

import errno
import heapq
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from umbel_files.names import has_image_suffix, printable

from umbel.base.errors import FileTooLarge, ImageError, SourceError, TransientError, Unreadable, UnsafePath
from umbel.base.image_rules import looks_like_image
from umbel.base.settings import Settings
from umbel.imports.sources.paths import folder_below_root, quoted, unquoted, unsafe
from umbel.imports.sources.source import Entry, Skipped

WINDOW = 100_000  # names of one folder that are held in memory; a larger folder is read several times
DEEPEST = 100
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # opening a FIFO must not wait for its writer
LINKS = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR)  # what O_NOFOLLOW answers to a link, and O_DIRECTORY to a file
TRANSIENT = (errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Folder:
    """The images below a folder, in the order of their paths, part by part.

    Names are compared by their bytes, so the order is the same everywhere. Links, to files or folders, are listed as
    rejected; hidden files and folders, FIFOs, sockets and devices are skipped.
    """

    def __init__(self, path: str, settings: Settings) -> None:
        """Raises SourceError when there is no such folder below an import root."""
        root, parts = folder_below_root(path, settings.import_roots)
        self._max_bytes = settings.max_bytes
        try:
            with _descended(os.open(root, FOLDER), parts) as folder:
                self._folder = os.dup(folder)
        except OSError as error:
            raise _unlistable(error, f"The folder {path!r}") from error

    def entries(self, after: str | None = None) -> Iterator[Entry | Skipped]:
        try:
            # Opened again, not duplicated: duplicates share their position in the folder with other listings.
            folder = os.open(".", FOLDER, dir_fd=self._folder)
            yield from self._walk(folder, "", unquoted(after).split("/") if after else [])
        except OSError as error:
            raise _unlistable(error, "The folder") from error

    def read(self, locator: str) -> bytes:
        path = unquoted(locator)
        if reason := unsafe(path):
            raise UnsafePath(f"The path {reason}.")
        *folders, name = path.split("/")
        try:
            with _descended(os.dup(self._folder), folders) as folder, _opened(name, folder) as file:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise Unreadable("It is no regular file.")
                return self._bytes_of(file)
        except OSError as error:
            if error.errno == errno.EIO:  # may pass; listing does not wait for it: one bad file would stop all others
                raise TransientError(f"The file cannot be read now: {_reason(error)}.") from error
            raise _fault(error) from error

    def close(self) -> None:
        os.close(self._folder)

    def _bytes_of(self, file: int) -> bytes:
        with os.fdopen(file, "rb", closefd=False) as stream:
            data = stream.read(self._max_bytes + 1)
        if len(data) > self._max_bytes:
            raise FileTooLarge(f"The file has more than the {self._max_bytes:,} bytes that are taken.")
        return data

    def _walk(self, folder: int, path: str, after: Sequence[str]) -> Iterator[Entry | Skipped]:
        """The files below an open folder, which is closed in the end. after: the rest of the position's path."""
        try:
            for name in _sorted_names(folder, after[0] if after else None):
                behind = after[1:] if after and name == after[0] else []
                if after and name == after[0] and not behind:
                    continue
                yield from self._visited(folder, name, f"{path}{name}", behind)
        finally:
            os.close(folder)

    def _visited(self, folder: int, name: str, path: str, after: Sequence[str]) -> Iterator[Entry | Skipped]:
        position, shown = quoted(path), printable(path)
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if name.startswith("."):
                yield Skipped(position, shown)
            elif stat.S_ISLNK(found.st_mode):
                raise UnsafePath("It is a link, and links are not followed.")
            elif stat.S_ISDIR(found.st_mode):
                if path.count("/") >= DEEPEST:
                    raise Unreadable(f"The folder lies more than {DEEPEST} folders deep.")
                yield from self._walk(os.open(name, FOLDER, dir_fd=folder), f"{path}/", after)
            elif not stat.S_ISREG(found.st_mode) or not self._may_be_image(folder, name):
                yield Skipped(position, shown)
            elif found.st_size > self._max_bytes:
                raise FileTooLarge(f"The file has {found.st_size:,} bytes; at most {self._max_bytes:,} are taken.")
            else:
                yield Entry(position, shown, position)
        except FileNotFoundError:
            return  # deleted while the folder was being listed
        except ImageError as error:
            yield Entry(position, shown, position, rejected=error)
        except OSError as error:
            yield Entry(position, shown, position, rejected=_fault(error))

    def _may_be_image(self, folder: int, name: str) -> bool:
        """By its suffix, without reading it; else by its first bytes. Raises OSError if it is unreadable."""
        if has_image_suffix(name):
            if not os.access(name, os.R_OK, dir_fd=folder, effective_ids=True):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return True
        with _opened(name, folder) as file:
            return looks_like_image(os.read(file, 12))


def _sorted_names(folder: int, start: str | None) -> Iterator[str]:
    """The names in an open folder in the order of their bytes, from `start` on (included), a window at a time."""
    low, inclusive = os.fsencode(start or ""), True
    while True:
        with os.scandir(folder) as found:
            names = (os.fsencode(each.name) for each in found)
            window = heapq.nsmallest(WINDOW, (n for n in names if n > low or (inclusive and n == low)))
        yield from map(os.fsdecode, window)
        if len(window) < WINDOW:
            return
        low, inclusive = window[-1], False


@contextmanager
def _descended(folder: int, parts: Sequence[str]) -> Iterator[int]:
    """The folder that `parts` lead to from an open one; both are closed in the end."""
    try:
        for part in parts:
            below = os.open(part, FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _opened(name: str, folder: int) -> Iterator[int]:
    file = os.open(name, FILE, dir_fd=folder)
    try:
        yield file
    finally:
        os.close(file)


def _fault(error: OSError) -> ImageError:
    """Why an entry cannot be read. Raises TransientError when the machine is at fault and that may pass."""
    if error.errno in TRANSIENT:
        raise TransientError(f"The file cannot be read now: {_reason(error)}.") from error
    if error.errno in LINKS:
        return UnsafePath("A link has taken the place of the file or of a folder above it.")
    return Unreadable(f"The file cannot be read: {_reason(error)}.")


def _unlistable(error: OSError, what: str) -> SourceError | TransientError:
    kind = TransientError if error.errno in TRANSIENT else SourceError
    return kind(f"{what} cannot be opened: {_reason(error)}.")


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
