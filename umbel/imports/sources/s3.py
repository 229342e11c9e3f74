"""Part of an S3 bucket, listed in the order of its keys."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, InvalidPathError, PermissionDeniedError
from umbel_files.kinds import START, kind_of
from umbel_files.names import has_image_suffix, may_be_image, printable
from umbel_files.skipping import skipped_path

from umbel.base.errors import FileTooLarge, ImageError, SourceError, SourceUnreachable, Unreadable, UnsafePath
from umbel.base.in_place import READING_SECONDS, Location, s3_store, version_of_object
from umbel.base.roots import bucket_below_root, quoted, unquoted, unsafe
from umbel.base.settings import Settings
from umbel.imports.sources.source import Entry, Original, Skipped

if TYPE_CHECKING:
    from obstore import ObjectMeta

STATUS = re.compile(r"non-2xx status code: (\d{3})")
TRY_AGAIN = ("408", "425", "429")
LISTING_FAILURES = {  # by a part of the message: obstore has no classes for them
    "NoSuchBucket": "There is no such bucket.",
    "/latest/api/token": "There are no credentials for S3 (AWS_ACCESS_KEY_ID and so on), and no role to get them from.",
    "redirect": "The bucket is in another region or behind another endpoint: see AWS_REGION and UMBEL_S3_ENDPOINT.",
    "status code: 401": "The bucket cannot be listed without credentials.",
    "status code: 403": "The bucket may not be listed with the credentials of this server.",
}
UNREACHABLE = {
    "ConnectionRefused": "refused the connection",
    "TimedOut": "did not answer in time",
    "dns error": "has an endpoint whose name cannot be resolved",
}
PAGE = 1000  # keys of one answer
# Of one request; a file takes longer than a page of keys. Shorter than a lease (`lease_seconds`), which is not renewed
# while nothing arrives.
LISTING_SECONDS = 15


class Bucket:
    """The images below a prefix. Position and locator are the part of the key behind the prefix.

    Two kinds of bucket cannot be listed: directory buckets (S3 Express), which have no order, and buckets with a key
    that is no path (an empty, . or .. part), which obstore rejects; choose a prefix that excludes the key.
    """

    def __init__(self, url: str, settings: Settings, *, include_hidden: bool = False) -> None:
        """Raises SourceError when the URL is not below an import root. Sends no request yet."""
        bucket, prefix = bucket_below_root(url, settings.import_roots)
        self._max_bytes, self._include_hidden = settings.max_bytes, include_hidden
        self._top, self._bucket, self._prefix = prefix.rpartition("/")[2], bucket, prefix
        try:
            self._keys, self._store = (
                s3_store(bucket, prefix or None, settings.s3_endpoint, seconds=seconds, retry_seconds=LISTING_SECONDS)
                for seconds in (LISTING_SECONDS, READING_SECONDS)
            )
        except (BaseError, ValueError) as error:
            raise SourceError(f"S3 is not set up on this server: {_first_line(str(error))}.") from error

    def entries(self, after: str | None = None) -> Iterator[Entry | Skipped]:
        try:
            for page in obstore.list(self._keys, offset=unquoted(after) if after else None, chunk_size=PAGE):
                for found in page:
                    yield self._listed(found)
        except (BaseError, OSError) as error:
            raise self._listing_failure(error) from error

    def read(self, locator: str) -> bytes:
        return self.read_original(locator).data

    def read_original(self, locator: str) -> Original:
        """The bytes of an entry, and where they are. Raises as `read` does."""
        key = unquoted(locator)
        if reason := unsafe(key):
            raise UnsafePath(f"The path {reason}.")
        try:
            found = obstore.get(self._store, key)
            self._check_size(found.meta["size"])
            return Original(bytes(found.bytes()), self._location(key, found.meta))
        except (BaseError, OSError) as error:
            raise self._reading_failure(error) from error

    def close(self) -> None:
        pass  # obstore's connections belong to its process-wide runtime

    def _location(self, key: str, found: "ObjectMeta") -> Location:
        url = "/".join(filter(None, (f"s3://{self._bucket}", self._prefix, key)))
        return Location.of(url, version_of_object(found))

    def _listed(self, found: "ObjectMeta") -> Entry | Skipped:
        key, size = found["path"], found["size"]
        position, name = quoted(key), printable(key)
        marks_folder = size == 0 and not has_image_suffix(key)  # as S3 consoles create
        hidden = not self._include_hidden and skipped_path(key, self._top)
        try:
            if hidden or marks_folder or not self._is_image(key):
                return Skipped(position, name, hidden)
            self._check_size(size)
        except ImageError as error:
            return Entry(position, name, position, rejected=error)
        return Entry(position, name, position, location=self._location(key, found))

    def _is_image(self, key: str) -> bool:
        """By its suffix, without asking for the object; else by its first bytes. Raises as `read` does."""
        if has_image_suffix(key) or not may_be_image(key):
            return has_image_suffix(key)
        try:
            return kind_of(bytes(obstore.get_range(self._keys, key, start=0, end=START))) is not None
        except (BaseError, OSError) as error:
            raise self._reading_failure(error) from error

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise FileTooLarge(f"The file has {size:,} bytes; at most {self._max_bytes:,} are taken.")

    def _listing_failure(self, error: Exception) -> SourceError | SourceUnreachable:
        text = str(error)
        if isinstance(error, InvalidPathError):
            key = _first_line(text).partition('"')[2].partition('"')[0]
            return SourceError(f"The bucket has a key that is no path and cannot be listed: {key!r}.")
        for mark, meaning in LISTING_FAILURES.items():
            if mark in text:
                return SourceError(meaning)
        if (status := STATUS.search(text)) and status[1].startswith("4") and status[1] not in TRY_AGAIN:
            return SourceError(f"The bucket cannot be listed: {_first_line(text)}.")
        return self._unreachable(text)

    def _reading_failure(self, error: Exception) -> ImageError | SourceUnreachable:
        if isinstance(error, FileNotFoundError):
            return Unreadable("The object is no longer in the bucket.")
        if isinstance(error, PermissionDeniedError):
            return Unreadable("The object may not be read with the credentials of this server.")
        return self._unreachable(str(error))

    def _unreachable(self, text: str) -> SourceUnreachable:
        reasons = [reason for mark, reason in UNREACHABLE.items() if mark in text]
        if status := STATUS.search(text):
            reasons.append(f"answered {status[1]}")
        return SourceUnreachable(f"The bucket {self._bucket} {(reasons or ['failed: ' + _first_line(text)])[0]}.")


def _first_line(text: str) -> str:
    return (text.splitlines() or ["no reason given"])[0].strip()[:300]
