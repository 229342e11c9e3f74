"""Models are converted to OpenVINO once in a run of tests: each home would spend ten seconds of a core on the same."""

import os
from pathlib import Path

FOLDER = "UMBEL_TEST_CONVERSIONS"  # variable that names it; tests/conftest.py makes it for the run


def share_conversions(home: Path) -> None:
    """Let `home`, which is new, keep its conversions where all homes of the run do."""
    if shared := os.environ.get(FOLDER):
        (home / "models").mkdir(parents=True)
        (home / "models" / "openvino").symlink_to(shared)
