"""What the tests of sources share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from umbel.base.blobs import Blobs
from umbel.base.settings import Settings
from umbel.imports.sources.folder import Folder


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def opened(root: Path) -> Iterator[Callable[..., Folder]]:
    sources: list[Folder] = []

    def open_folder(path: Path = root, *, include_hidden: bool = False, **settings: Any) -> Folder:
        settings.setdefault("import_roots", (str(root),))
        sources.append(Folder(str(path), Settings(**settings), include_hidden=include_hidden))
        return sources[-1]

    yield open_folder
    for source in sources:
        source.close()
