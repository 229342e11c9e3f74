"""Lists as they are uploaded, and what became of them."""

import io
from pathlib import Path
from typing import Any

import pytest

from umbel.base.blobs import Blobs
from umbel.base.errors import BadManifest
from umbel.base.settings import Settings
from umbel.imports.sources import ManifestSource, open_source, receive_manifest
from umbel.imports.sources.manifest import Manifest


def kept(blobs: Blobs, text: str | bytes, base: Path | None = None, **settings: Any) -> Manifest:
    """The source of an uploaded list. base: an import root, too."""
    config = Settings(**{"import_roots": [str(base)] if base else [], **settings})
    data = text.encode() if isinstance(text, str) else text
    receive_manifest(io.BytesIO(data), blobs, "uploads/m", config)
    source = open_source(ManifestSource(blob_key="uploads/m", base=str(base) if base else None), blobs, config)
    assert isinstance(source, Manifest)
    return source


def listed(source: Manifest) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Name, label and metadata of what can be read."""
    return [(each.name, each.label, each.metadata) for each in source.entries() if each.rejected is None]


def wrong(source: Manifest) -> list[str]:
    """What is wrong with the rows that cannot be."""
    found = [each.rejected for each in source.entries() if each.rejected]
    assert {each.code for each in found} <= {"bad_manifest_line"}
    assert all("\0" not in each.detail and each.detail.encode() for each in found)
    return [each.detail for each in found]


def refused(blobs: Blobs, text: str | bytes) -> str:
    """Why a list is refused as a whole; nothing of it is kept."""
    with pytest.raises(BadManifest) as error:
        kept(blobs, text)
    assert not blobs.exists("uploads/m")
    return error.value.detail
