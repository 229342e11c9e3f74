"""An uploaded list of images: paths below a folder or a prefix, or URLs."""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from umbel_files.names import printable

from umbel.base.blobs import Blobs
from umbel.base.errors import (
    AddressRefused,
    BadManifestLine,
    BlobMissing,
    ImageError,
    SourceError,
    Unreadable,
    UnsafePath,
)
from umbel.base.outbound import url_fault
from umbel.base.roots import quoted, unsafe
from umbel.base.settings import Settings
from umbel.imports.sources.manifest_rows import BadRow, Row, row_of
from umbel.imports.sources.source import Entry, ManifestSource, Source
from umbel.imports.sources.web import URLS_ARE_OFF, Web, shown_url

NO_BASE = "The list came without a base that its paths are relative to: give one (--base)."
ELSEWHERE = re.compile(r"[a-z]:[\\/]|[\\/]{2}|[a-z][a-z0-9+.-]+://|file:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The rows of a manifest, as `receive_manifest` stored it. A position is the offset of the next one.

    base: what paths are read from; None if the manifest came without. Listing does not check that the images exist:
    reading does.
    """

    spec: ManifestSource
    blobs: Blobs
    settings: Settings
    base: Source | None
    web: Web

    def entries(self, after: str | None = None) -> Iterator[Entry]:
        try:
            with self.blobs.open(self.spec.blob_key) as file:
                columns = json.loads(file.readline())
                position = file.seek(int(after)) if after else file.tell()
                for record in file:
                    position += len(record)
                    line, _, text = record.decode().partition(" ")
                    yield self._entry(str(position), f"line {line}", columns, text)
        except BlobMissing as error:
            raise SourceError("The uploaded manifest is no longer there.") from error

    def read(self, locator: str) -> bytes:
        place = json.loads(locator)
        if "url" in place:
            return self.web.fetch(place["url"])
        if self.base is None:
            raise UnsafePath(NO_BASE)
        faults = []
        for path in _spellings(place["path"]):
            try:
                return self.base.read(quoted(path))
            except Unreadable as error:
                faults.append(error)
        raise faults[0]

    def close(self) -> None:
        if self.base is not None:
            self.base.close()

    def _entry(self, position: str, name: str, columns: list[str] | None, text: str) -> Entry:
        where = name.capitalize()
        try:
            row = row_of(columns, text)
        except BadRow as error:
            return Entry(position, name, "{}", rejected=BadManifestLine(f"{where}: {error}."))
        if row.url is not None:
            shown, locator, rejected = shown_url(row.url), {"url": row.url}, self._url_fault(row.url, where)
        else:
            path = self._relative(row)
            shown, locator, rejected = _turned(path), {"path": path}, self._path_fault(path)
        found = json.dumps(locator), row.label, row.metadata, rejected, row.external_id
        return Entry(position, printable(shown), *found)

    def _relative(self, row: Row) -> str:
        """The path relative to the base, which it may begin with; `find .` puts `./` in front."""
        base = (self.spec.base or "").rstrip("/")
        path = row.path or ""
        return path.removeprefix(f"{base}/" if base else "").removeprefix("./")

    def _url_fault(self, url: str, where: str) -> ImageError | None:
        if not self.settings.import_urls:
            return AddressRefused(URLS_ARE_OFF)
        reason = url_fault(url)
        return BadManifestLine(f"{where}: the URL {reason}.") if reason else None

    def _path_fault(self, path: str) -> ImageError | None:
        if self.base is None:
            return UnsafePath(NO_BASE)
        if path.lower().startswith(("http://", "https://")):
            return UnsafePath("The path is a URL: give it as url, not as path.")
        reason = "begins with a drive or an address" if ELSEWHERE.match(path) else unsafe(_turned(path))
        return UnsafePath(f"The path {reason}; name files relative to the base of the list.") if reason else None


def _turned(path: str) -> str:
    """The path with slashes, where it was written on Windows."""
    return path.replace("\\", "/").removeprefix("./")


def _spellings(path: str) -> list[str]:
    """The names that the file may have, the likeliest first.

    A backslash is part of a name here, and a folder's end on Windows; databases fill values up with spaces.
    """
    turned = _turned(path).rstrip(" ")
    return list(dict.fromkeys([path, turned, *(unicodedata.normalize(form, turned) for form in ("NFC", "NFD"))]))
