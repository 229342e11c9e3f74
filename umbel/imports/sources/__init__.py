"""What a bulk import reads from: folders, archives, buckets and lists, all listed and read in the same way."""

from umbel.base.blobs import Blobs
from umbel.base.errors import SourceError
from umbel.base.settings import Settings
from umbel.base.types import Garden
from umbel.imports.sources.folder import Folder
from umbel.imports.sources.manifest import Manifest
from umbel.imports.sources.receive import receive_archive, receive_manifest
from umbel.imports.sources.roots import is_bucket
from umbel.imports.sources.s3 import Bucket
from umbel.imports.sources.sample import Sample
from umbel.imports.sources.source import Entry, PassedOver, Source
from umbel.imports.sources.specs import ArchiveSource, FolderSource, ManifestSource, S3Source, SampleSource, SourceSpec
from umbel.imports.sources.tars import Tar
from umbel.imports.sources.web import Web
from umbel.imports.sources.zips import Zip

__all__ = [
    "ArchiveSource",
    "Entry",
    "FolderSource",
    "ManifestSource",
    "PassedOver",
    "S3Source",
    "SampleSource",
    "Source",
    "SourceSpec",
    "open_source",
    "receive_archive",
    "receive_manifest",
]


def open_source(spec: SourceSpec, blobs: Blobs, settings: Settings, garden: Garden | None = None) -> Source:
    """The source that a spec describes, ready to be listed and read; close it in the end.

    garden: who draws the sample, where it is to be listed or read.

    Raises SourceError when it lies outside the import roots or is not there; TransientError.
    """
    match spec:
        case FolderSource():
            return Folder(spec.path, settings)
        case S3Source():
            return Bucket(spec.url, settings)
        case ArchiveSource(type="zip"):
            return Zip(spec.blob_key, blobs, settings)
        case ArchiveSource():
            return Tar(spec.blob_key, blobs, settings)
        case ManifestSource():
            if not blobs.exists(spec.blob_key):
                raise SourceError("The uploaded manifest is no longer there.")
            return Manifest(spec, blobs, settings, _base(spec.base, settings), Web(settings))
        case SampleSource():
            return Sample(spec, garden)


def _base(base: str | None, settings: Settings) -> Source | None:
    if base is None:
        return None
    return Bucket(base, settings) if is_bucket(base) else Folder(base, settings)
