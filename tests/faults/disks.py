"""Disks that become full: small file systems of a run's own, whose size is brought down to what is in them."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import eventually

OWN = "UMBEL_FAULTS_MOUNTS"  # set in a process that has mounts of its own
LARGEST = 4 * 2**30  # bytes; only what is written takes memory
UNSHARE = ("unshare", "--mount")


def with_own_mounts(module: str) -> None:
    """Begin this program anew where it may mount and no other process sees it; go on where that is not allowed.

    The mounts are gone with its last process, however that ends.
    """
    if OWN in os.environ or not shutil.which(UNSHARE[0]):
        return
    if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
        return
    os.environ[OWN] = "yes"
    os.execvp(UNSHARE[0], [*UNSHARE, sys.executable, "-m", module, *sys.argv[1:]])


class Disk:
    """A file system in memory at a new folder; just the folder, which never is full, where nothing may be mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        folder.mkdir(parents=True)
        self.mounted = OWN in os.environ and self._mount(f"size={LARGEST},mode=0755")

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room beyond what is in it now."""
        with self._lock:
            eventually(self._shrunk, within=5, every=0)
            try:
                yield
            finally:
                self._mount(f"remount,size={LARGEST}")

    def remove(self) -> None:
        """With all that is in it."""
        if self.mounted:
            subprocess.run(["umount", "--lazy", self.folder], check=False)

    def _shrunk(self) -> bool:
        """False if more was written meanwhile."""
        found = os.statvfs(self.folder)
        return self._mount(f"remount,size={(found.f_blocks - found.f_bfree) * found.f_frsize}")

    def _mount(self, options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.folder]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
