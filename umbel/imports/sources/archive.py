"""What zips and tars share: an archive in the blob store, and which of its entries are taken."""

from collections.abc import Callable

from umbel_files.kinds import kind_of
from umbel_files.names import has_image_suffix, may_be_image, printable
from umbel_files.skipping import skipped_path

from umbel.base.blobs import Blobs
from umbel.base.errors import BlobMissing, FileTooLarge, ImageError, NestedArchive, SourceError, UnsafePath
from umbel.base.settings import Settings
from umbel.imports.sources.archive_names import is_archive, starts_as_archive, unsafe_in_archive
from umbel.imports.sources.source import Entry, Skipped


class Archive:
    """An uploaded archive, read where it lies in the blob store."""

    def __init__(self, key: str, blobs: Blobs, settings: Settings, *, include_hidden: bool = False) -> None:
        """Raises SourceError when the archive is not in the blob store."""
        self._key, self._blobs, self._settings = key, blobs, settings
        self._include_hidden = include_hidden
        try:
            self._size = blobs.size(key)
        except BlobMissing as error:
            raise SourceError("The uploaded archive is no longer there.") from error

    def close(self) -> None:
        pass  # each reader opens the blob for itself

    def _entry(
        self, position: str, path: str, locator: str, *, fault: ImageError | None, start: Callable[[], bytes] | None
    ) -> Entry | Skipped:
        """The entry at `path`, by its suffix or else by its bytes.

        fault: why it is rejected if it is an image; start: reads its first START bytes, None where they cannot be read.
        """
        name = printable(path)
        if not (is_archive(path) or may_be_image(path)):
            return Skipped(position, name, hidden=skipped_path(path))
        if reason := unsafe_in_archive(path):
            fault = UnsafePath(f"The path {reason}.")
        elif not self._include_hidden and skipped_path(path):
            return Skipped(position, name, hidden=True)
        elif is_archive(path):
            fault = NestedArchive("Archives inside an archive are not unpacked.")
        elif not has_image_suffix(path):
            try:
                if start is None or kind_of(start()) is None:
                    return Skipped(position, name)
            except ImageError as error:
                fault = error
        return Entry(position, name, locator, rejected=fault)

    def _too_large(self, size: int) -> FileTooLarge | None:
        most = self._settings.max_bytes
        return FileTooLarge(f"The file has {size:,} bytes; at most {most:,} are taken.") if size > most else None


def check_content(data: bytes) -> None:
    """Raises NestedArchive for an entry that is an archive, whatever its name says."""
    if starts_as_archive(data):
        raise NestedArchive("The entry is an archive itself.")
