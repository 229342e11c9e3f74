"""Which code ran."""

import subprocess
from pathlib import Path


def commit() -> str | None:
    """The commit of the code that runs, hex, if it runs from a checkout; with "-dirty" where files were changed."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        found = subprocess.run(
            [*git, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no git here
        return None
    return found.stdout.strip() or None
