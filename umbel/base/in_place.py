"""Images whose bytes stay where they are, in a folder or bucket below an import root: read there, never written.

The key of such a blob says where that is and which version of the file was read. A file that is gone, has changed or
lies outside of the import roots by now is a missing blob.
"""

import io
import os
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

import obstore
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import S3Store

from umbel.base.descent import FILE, FOLDER, closing, descended, reason
from umbel.base.errors import BlobMissing, TransientError
from umbel.base.roots import below_root, is_below, is_bucket, quoted, unquoted

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta
    from obstore.store import S3Config

IN_PLACE = "in-place/"  # what the keys of such blobs begin with
LONGEST_URL = 2_000  # characters of a location: the key of a blob is in an index
# Without the path, which may be one of the server's own.
GONE = "The file of this image is gone from its place."
CHANGED = "The file of this image has changed since it was imported: import it again."
OUTSIDE = "The file of this image lies below no import root of this server any more."
READING_SECONDS = 40  # for one object; shorter than a lease, which is not renewed while nothing arrives


class Location(NamedTuple):
    """url: an absolute path or an s3:// URL, percent-encoded, ASCII. version: that was read, see `version_of`."""

    url: str
    version: str

    @classmethod
    def of(cls, path: str, version: str) -> "Location":
        """path: absolute, or s3://bucket/key."""
        return cls(quoted(path), version)

    @property
    def path(self) -> str:
        return unquoted(self.url)


def in_place_key(collection: str, digest: bytes, location: Location) -> str:
    """The key of the blob of that collection's image with this SHA-256."""
    return f"{IN_PLACE}{collection}/{digest.hex()[:2]}/{digest.hex()}#{quote(location.version)}#{location.url}"


def stays_in_place(key: str) -> bool:
    """Whether the blob with this key is none of the blob store."""
    return key.startswith(IN_PLACE)


def find_location(key: str) -> Location | None:
    """Where the blob with this key stays; None for one of the blob store."""
    if not stays_in_place(key):
        return None
    _, version, url = key.split("#")
    return Location(url, unquote(version))


def version_of_file(found: os.stat_result) -> str:
    """Another one as soon as the file has another size or time of change."""
    return f"{found.st_size} {found.st_mtime_ns}"


def version_of_object(found: "ObjectMeta") -> str:
    """Another one as soon as the object has other bytes."""
    return f"{found['size']} {found['e_tag'] or found['last_modified'].isoformat()}"


def s3_store(bucket: str, prefix: str | None, endpoint: str | None, *, seconds: float, retry_seconds: float) -> S3Store:
    """A bucket of others. seconds: for one request; retry_seconds: for trying again. Raises BaseError, ValueError."""
    config: S3Config = {"endpoint": endpoint} if endpoint else {}
    return S3Store(
        bucket,
        prefix=prefix,
        config=config,
        # Few retries here: the ledger tries again later, and the worker does other work meanwhile.
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=retry_seconds)},
        client_options={
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(seconds=seconds),
            "allow_http": (endpoint or "").startswith("http://"),
        },
    )


class Originals:
    """Reads blobs that stay in place. All methods raise BlobMissing and TransientError."""

    def __init__(self, roots: Sequence[str], s3_endpoint: str | None) -> None:
        """roots: the import roots, below which a location must lie whenever it is read."""
        self._roots = roots
        self._bucket = cache(
            lambda bucket: s3_store(bucket, None, s3_endpoint, seconds=READING_SECONDS, retry_seconds=READING_SECONDS)
        )

    def open_file(self, location: Location) -> io.FileIO | None:
        """The file, in the version that is meant; None for an object of a bucket."""
        if is_bucket(location.path):
            return None
        real = os.path.realpath(location.path)
        if (found := below_root(real, self._roots)) is None:
            raise BlobMissing(OUTSIDE)
        root, parts = found
        try:
            # From here on no link is followed: one that is swapped in meanwhile leads nowhere.
            with closing(descended(os.open(root, FOLDER), parts[:-1])) as folder:
                file = io.FileIO(os.open(parts[-1], FILE, dir_fd=folder))
        except FileNotFoundError:
            raise BlobMissing(GONE) from None
        except OSError as error:
            raise TransientError(f"The file of this image cannot be read: {reason(error)}.") from error
        now = os.fstat(file.fileno())
        if not stat.S_ISREG(now.st_mode) or version_of_file(now) != location.version:
            file.close()
            raise BlobMissing(CHANGED)
        return file

    def get(self, location: Location) -> bytes:
        if file := self.open_file(location):
            with file:
                return file.readall()
        try:
            store, key, options = self._object(location)
            return bytes(obstore.get(store, key, options=options).bytes())
        except (BaseError, OSError) as error:
            raise _failure(error) from error

    def get_range(self, location: Location, start: int, length: int) -> bytes:
        if file := self.open_file(location):
            with file:
                return os.pread(file.fileno(), length, start)
        try:
            store, key, options = self._object(location)
            wanted: GetOptions = {**options, "range": (start, start + length)}
            return bytes(obstore.get(store, key, options=wanted).bytes())
        except (BaseError, OSError) as error:
            raise _failure(error) from error

    def size(self, location: Location) -> int:
        if file := self.open_file(location):
            with file:
                return os.fstat(file.fileno()).st_size
        try:
            store, key, _ = self._object(location)
            found = obstore.head(store, key)
        except (BaseError, OSError) as error:
            raise _failure(error) from error
        if version_of_object(found) != location.version:
            raise BlobMissing(CHANGED)
        return found["size"]

    async def stream(self, location: Location, part: int) -> tuple[int, AsyncIterator[bytes]]:
        """The size of an object, and its bytes in parts; of a file use `open_file`."""
        try:
            store, key, options = self._object(location)
            found = await obstore.get_async(store, key, options=options)
        except (BaseError, OSError) as error:
            raise _failure(error) from error
        return found.meta["size"], parts_of(found, part, _failure)

    def _object(self, location: Location) -> "tuple[S3Store, str, GetOptions]":
        path = location.path
        if not is_below(path, self._roots):
            raise BlobMissing(OUTSIDE)
        bucket, _, key = path.removeprefix("s3://").partition("/")
        tag = location.version.partition(" ")[2]
        return self._bucket(bucket), key, {"if_match": tag} if tag.startswith(('"', "W/")) else {}


async def parts_of(found: "GetResult", size: int, failure: Callable[[Exception], Exception]) -> AsyncIterator[bytes]:
    """An object's bytes, in parts of at least `size` bytes; failure: what is raised for an error of the store."""
    try:
        async for part in found.stream(min_chunk_size=size):
            yield bytes(part)
    except (BaseError, OSError) as error:
        raise failure(error) from error


def _failure(error: Exception) -> Exception:
    if isinstance(error, PreconditionError):
        return BlobMissing(CHANGED)
    if isinstance(error, FileNotFoundError):
        return BlobMissing(GONE)
    return TransientError(f"The file of this image cannot be read: {str(error).splitlines()[0][:300]}.")
