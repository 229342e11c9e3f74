"""A module of ours run in a process of its own, so that this one needs neither its memory nor its threads."""

import subprocess
import sys


def run_elsewhere(module: str, *arguments: str, seconds: float) -> str:
    """What the module prints. seconds: how long it may take. Raises RuntimeError with the end of its errors."""
    command = [sys.executable, "-P", "-m", module, *arguments]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds).stdout
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{module} failed: {error.stderr.strip()[-300:]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{module} failed: {error}") from error
