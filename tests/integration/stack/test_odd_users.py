"""The servers of users that Postgres does not like: root alone in a namespace, and a number without a name."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NAMELESS = 12345
# A database is made, found again by a second server, and the server of a killed supervisor is stopped by the next one.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from stack.postgres import Postgres
from stack.redis import Redis
home = Path(sys.argv[1])
for kind in (Postgres, Redis):
    if os.fork() == 0:
        server = kind(home, home / "run", durable=False)
        server.start()
        os.kill(os.getpid(), signal.SIGKILL)
    os.wait()
    server = kind(home, home / "run", durable=False)
    server.clear_leftovers()
    server.start()
    assert server.is_ready()
    server.stop()
print("both", os.geteuid())
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may write to."""
    with tempfile.TemporaryDirectory(prefix="umbel-test-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def runs(command: list[str]) -> bool:
    try:
        return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def as_nobody_known() -> list[str]:
    """A command's beginning that runs it under a number without a name; below /root, Python is moved within reach."""
    become = [
        "setpriv",
        f"--reuid={NAMELESS}",
        f"--regid={NAMELESS}",
        "--clear-groups",
        "env",
        "-u",
        "HOME",
        "-u",
        "USER",
    ]
    if not sys.base_prefix.startswith("/root/"):
        return become
    prefix = shlex.quote(sys.base_prefix)
    moved = f"mount --bind {prefix} /mnt && mount -t tmpfs -o mode=755 none /root && mkdir -p {prefix}"
    script = f'{moved} && mount --bind /mnt {prefix} && exec {shlex.join(become)} "$@"'
    return ["unshare", "-m", "sh", "-c", script, "sh"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user here")
@pytest.mark.skipif(not (shutil.which("unshare") and shutil.which("setpriv")), reason="needs util-linux")
@pytest.mark.parametrize(
    ("beginning", "user"),
    [(as_nobody_known(), NAMELESS), (["unshare", "-r"], 0), ([*as_nobody_known(), "unshare", "-r"], 0)],
    ids=["a number without a name", "unshare -r", "unshare -r of that number"],
)
def test_servers_start_stop_and_are_found_again(beginning: list[str], user: int, open_folder: Path) -> None:
    if not runs(beginning):
        pytest.skip("this machine makes no such namespaces")
    command = [*beginning, sys.executable, "-P", "-c", SCRIPT, str(open_folder / "home")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (0, f"both {user}\n"), done.stderr
