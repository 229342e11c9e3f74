"""An uploaded list of images: paths below a folder or a prefix, or URLs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
from umbel_files.names import printable

from umbel.base.blobs import Blobs
from umbel.base.errors import (
    AddressRefused,
    BadManifestLine,
    BlobMissing,
    ImageError,
    SourceError,
    SourceTooLarge,
    UnsafePath,
)
from umbel.base.settings import Settings
from umbel.imports.sources.manifest_records import BadRow, Place, Record, Row, csv_records, json_records
from umbel.imports.sources.paths import quoted, unsafe
from umbel.imports.sources.source import Entry, ManifestSource, Source
from umbel.imports.sources.web import Web, url_fault

URLS_ARE_OFF = "URLs are not imported on this server (UMBEL_IMPORT_URLS)."
NO_BASE = "The manifest came without a base that its paths are relative to."


@dataclass(frozen=True, slots=True)
class Manifest:
    """The lines of a manifest. A position is the number and the offset of the next line.

    base: what paths are read from; None if the manifest came without. Listing does not check that the images exist:
    reading does.
    """

    spec: ManifestSource
    blobs: Blobs
    settings: Settings
    base: Source | None
    web: Web

    def entries(self, after: str | None = None) -> Iterator[Entry]:
        at = Place(*map(int, after.split(":"))) if after else None
        try:
            with self.blobs.open(self.spec.blob_key) as file:
                for record in (csv_records if self.spec.format == "csv" else json_records)(file, at):
                    if record.place.line > self.settings.archive_entries:
                        raise SourceTooLarge(f"The manifest has more than {self.settings.archive_entries:,} lines.")
                    yield self._entry(record)
        except BlobMissing as error:
            raise SourceError("The uploaded manifest is no longer there.") from error

    def read(self, locator: str) -> bytes:
        place = json.loads(locator)
        if "url" in place:
            if not self.settings.import_urls:
                raise AddressRefused(URLS_ARE_OFF)
            return self.web.fetch(place["url"])
        if self.base is None:
            raise UnsafePath(NO_BASE)
        return self.base.read(quoted(place["path"]))

    def close(self) -> None:
        if self.base is not None:
            self.base.close()

    def _entry(self, record: Record) -> Entry:
        position = f"{record.behind.line}:{record.behind.offset}"
        name = f"line {record.place.line}"
        row = record.content
        if isinstance(row, BadRow):
            return Entry(position, name, "{}", rejected=BadManifestLine(f"Line {record.place.line}: {row}."))
        if row.url is not None:
            shown, locator, rejected = _shown(row.url), {"url": row.url}, self._url_fault(row.url, record.place.line)
        else:
            path = self._relative(row)
            shown, locator, rejected = path, {"path": path}, self._path_fault(path)
        return Entry(position, printable(shown), json.dumps(locator), row.label, row.metadata, rejected)

    def _relative(self, row: Row) -> str:
        """The path relative to the base, which it may begin with; `find .` puts `./` in front."""
        base = (self.spec.base or "").rstrip("/")
        path = row.path or ""
        return path.removeprefix(f"{base}/" if base else "").removeprefix("./")

    def _url_fault(self, url: str, line: int) -> ImageError | None:
        if not self.settings.import_urls:
            return AddressRefused(URLS_ARE_OFF)
        reason = url_fault(url)
        return BadManifestLine(f"Line {line}: the URL {reason}.") if reason else None

    def _path_fault(self, path: str) -> ImageError | None:
        if self.base is None:
            return UnsafePath(NO_BASE)
        reason = unsafe(path)
        return UnsafePath(f"The path {reason}.") if reason else None


def _shown(url: str) -> str:
    """The URL without parts that may be secret: the user and password, the query and the fragment."""
    try:
        return str(httpx.URL(url).copy_with(userinfo=b"", query=None, fragment=None))
    except (httpx.InvalidURL, UnicodeError, ValueError):
        return url.partition("?")[0]
