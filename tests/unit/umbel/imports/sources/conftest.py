"""What the tests of sources share."""

from pathlib import Path

import pytest

from umbel.base.blobs import Blobs


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())
