"""Picture bytes and model files, in a folder or an object store behind the same four verbs."""

import errno
import os
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from core.errors import BlobMissing, StorageFull, TransientError
from core.settings import settings


class Blobs:
    """A blob store. Keys are relative paths; a blob never changes once written."""

    def __init__(self, url: str) -> None:
        """url: file:///folder (made if absent) or anything obstore takes, such as s3://bucket/prefix."""
        parts = urlsplit(url)
        self.folder = Path(unquote(parts.path)) if parts.scheme == "file" else None
        self._store = LocalStore(self.folder, mkdir=True) if self.folder else from_url(url)

    def put(self, key: str, data: bytes) -> None:
        """Write a blob, whole or not at all, and on a folder down to the disk: what is accepted survives a power cut.

        Raises StorageFull, TransientError.
        """
        try:
            obstore.put(self._store, key, data)
            if self.folder:
                _sync(self.folder / key)
        except (BaseError, OSError) as error:
            raise _translated(error, key) from error

    def get(self, key: str) -> bytes:
        """The whole blob. Raises BlobMissing, TransientError."""
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except (BaseError, OSError) as error:
            raise _translated(error, key) from error

    def exists(self, key: str) -> bool:
        """Raises TransientError when the store cannot tell."""
        try:
            obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as error:
            raise _translated(error, key) from error
        return True

    def delete(self, key: str) -> None:
        """Remove a blob; one that is gone already is no error. Raises TransientError."""
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise _translated(error, key) from error


@cache
def blobs() -> Blobs:
    """The blob store of this process's settings."""
    return Blobs(settings().blobs)


def _sync(path: Path) -> None:
    for name in (path, path.parent):  # the bytes, then the directory entry
        handle = os.open(name, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _translated(error: Exception, key: str) -> Exception:
    if isinstance(error, FileNotFoundError):
        return BlobMissing(f"The stored bytes {key} are missing from the blob store.")
    text = str(error)
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or "No space left" in text or "quota exceeded" in text or "File too large" in text:
        return StorageFull("The blob store is full.")
    return TransientError(f"The blob store failed: {text.splitlines()[0]}.")
