"""`make dev`: the stack, each of Umbel's processes restarted when its code changes, all logs in one terminal."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from stack.process import Program
from stack.services import app_programs
from stack.supervisor import Supervisor
from umbel.base.errors import UmbelError
from umbel.base.escaping import escaped
from umbel.base.settings import settings

ROOT = Path(__file__).parents[1]
SHARED = ("cli", "client", "umbel")
CODE = {"api": ("api", *SHARED), "worker": ("worker", "ml", "garden", *SHARED), "scheduler": ("worker", *SHARED)}
SUFFIXES = (".py", ".html", ".css", ".js")
COLORS = {"api": 36, "worker": 32, "scheduler": 35, "postgres": 34, "redis": 31}
LOOK_SECONDS = 0.3
STOP_SECONDS = 20
AGAIN_SECONDS = 5  # until a program that ended by itself is begun anew though nothing has changed


class Reloader:
    """A program, restarted when a file below `folders` changes, or some seconds after it has ended by itself."""

    def __init__(self, command: Sequence[str], folders: Sequence[Path]) -> None:
        self._command, self._folders = command, folders
        self._stop = threading.Event()

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, which the program gets, too."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        while not self._stop.is_set():
            began = code_of(self._folders)
            child = subprocess.Popen(self._command)
            ended_at = 0.0
            while not self._stop.wait(LOOK_SECONDS):
                if changed := code_of(self._folders) ^ began:
                    print(f"begun anew: {min(changed)[0]} has changed", flush=True)
                    break
                if child.poll() is not None:
                    ended_at = ended_at or time.monotonic()
                    if time.monotonic() - ended_at > AGAIN_SECONDS:
                        break
            end(child)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()


def code_of(folders: Sequence[Path]) -> set[tuple[str, int]]:
    """Each file of code below the folders, with when it was changed."""
    found = set()
    for folder in folders:
        for place, below, names in os.walk(folder):
            below[:] = [name for name in below if name != "__pycache__" and not name.startswith(".")]
            for name in names:
                if name.endswith(SUFFIXES):
                    path = os.path.join(place, name)
                    try:
                        found.add((path, os.stat(path).st_mtime_ns))
                    except FileNotFoundError:  # an editor's
                        continue
    return found


def end(child: "subprocess.Popen[bytes]") -> None:
    """Ask a program to end, and kill it if it takes too long."""
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def reloading(program: Program) -> Program:
    """The program below a `Reloader`, which is this module run with the program's name and command."""
    return replace(program, command=(sys.executable, "-P", "-m", "stack.development", program.name, *program.command))


class LogFollower:
    """What is written to the logs in a folder from now on, each line with the colored name of its log."""

    def __init__(self, folder: Path, *, color: bool) -> None:
        self._folder, self._color = folder, color
        self._read = {path: path.stat().st_size for path in folder.glob("*.log")}

    def new_lines(self) -> Iterator[str]:
        """The whole lines that have come since the last call."""
        for path in sorted(self._folder.glob("*.log")):
            begun = self._read.get(path, 0)
            begun = begun if begun <= path.stat().st_size else 0  # a new log, the old one was set aside
            with path.open("rb") as log:
                log.seek(begun)
                text, whole, _ = log.read().rpartition(b"\n")
            self._read[path] = begun + len(text) + len(whole)
            for line in text.decode(errors="replace").splitlines() if whole else ():
                yield f"{self._named(path.stem)} {escaped(line)}"

    def _named(self, name: str) -> str:
        return f"\x1b[{COLORS.get(name, 37)}m{name:9}\x1b[0m" if self._color else f"{name:9}"


def _follow(logs: LogFollower, ended: threading.Event) -> None:
    while True:
        last = ended.wait(LOOK_SECONDS)
        for line in logs.new_lines():
            print(line, flush=True)
        if last:
            return


def main() -> None:
    """The stack in the foreground until Ctrl-C; one process a service."""
    os.environ.setdefault("UMBEL_API_PROCESSES", "1")
    config = settings()
    ended = threading.Event()
    logs = LogFollower(config.home / "logs", color=sys.stdout.isatty())
    follower = threading.Thread(target=_follow, args=(logs, ended))
    follower.start()
    try:
        Supervisor(config, programs=[reloading(program) for program in app_programs(config)]).run()
    except UmbelError as error:
        sys.exit(f"umbel: {error}")
    finally:
        ended.set()
        follower.join()


if __name__ == "__main__":
    if sys.argv[1:]:
        Reloader(sys.argv[2:], [ROOT / folder for folder in CODE[sys.argv[1]]]).run()
    else:
        main()
