"""Sources of a bulk import: folders, archives, buckets and manifests, all listed and read in the same way."""

from collections.abc import Sequence

from umbel.base.blobs import Blobs
from umbel.base.errors import SourceError
from umbel.base.roots import is_below, is_bucket, narrowed
from umbel.base.settings import Settings
from umbel.imports.sources.folder import Folder
from umbel.imports.sources.manifest import Manifest
from umbel.imports.sources.receive import receive_archive, receive_manifest
from umbel.imports.sources.s3 import Bucket
from umbel.imports.sources.sample import Garden, Sample
from umbel.imports.sources.source import (
    ArchiveSource,
    Entry,
    FolderSource,
    ManifestSource,
    S3Source,
    SampleSource,
    Skipped,
    Source,
    SourceSpec,
)
from umbel.imports.sources.tars import Tar
from umbel.imports.sources.web import Web
from umbel.imports.sources.zips import Zip

__all__ = [
    "ArchiveSource",
    "Entry",
    "FilesInPlace",
    "FolderSource",
    "ManifestSource",
    "S3Source",
    "SampleSource",
    "Skipped",
    "Source",
    "SourceSpec",
    "is_below",
    "open_source",
    "receive_archive",
    "receive_manifest",
]


FilesInPlace = Folder | Bucket  # sources whose files can stay where they are


def open_source(
    spec: SourceSpec,
    blobs: Blobs,
    settings: Settings,
    garden: Garden | None = None,
    *,
    roots: Sequence[str] | None = None,
) -> Source:
    """The source that a spec describes, ready to be listed and read. The caller closes it.

    garden: draws the sample; only needed to list or read one. roots: of the import roots of the settings, only what is
    below these may be read; None: all.

    Raises SourceError when the source is outside the import roots or does not exist; TransientError.
    """
    settings = settings.model_copy(update={"import_roots": narrowed(settings.import_roots, roots)})
    match spec:
        case FolderSource():
            return Folder(spec.path, settings, include_hidden=spec.include_hidden)
        case S3Source():
            return Bucket(spec.url, settings, include_hidden=spec.include_hidden)
        case ArchiveSource():
            kind = Zip if spec.type == "zip" else Tar
            return kind(spec.blob_key, blobs, settings, include_hidden=spec.include_hidden)
        case ManifestSource():
            if not blobs.exists(spec.blob_key):
                raise SourceError("The uploaded manifest is no longer there.")
            base = None if spec.base is None else (Bucket if is_bucket(spec.base) else Folder)(spec.base, settings)
            return Manifest(spec, blobs, settings, base, Web(settings))
        case SampleSource():
            return Sample(spec, garden)
