"""`make dev`: a program is begun anew when its code changes; logs are followed line by line."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from stack.development import LogFollower
from tests.processes import eventually

# Says that it has begun, and says so when it is asked to end.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("ended", flush=True), sys.exit()))
print("begun", flush=True)
signal.pause()
"""
RELOADER = """
import sys
from pathlib import Path
from stack.development import Reloader
Reloader(sys.argv[2:], [Path(sys.argv[1])]).run()
"""


def test_a_program_is_begun_anew_when_its_code_changes_and_ends_with_its_reloader(tmp_path: Path) -> None:
    code, log = tmp_path / "code", tmp_path / "log"
    code.mkdir()
    (code / "module.py").touch()
    with log.open("wb") as output:
        command = [sys.executable, "-c", RELOADER, str(code), sys.executable, "-c", PROGRAM]
        reloader = subprocess.Popen(command, stdout=output)
    try:
        eventually(lambda: log.read_text() == "begun\n")
        (code / "notes.txt").touch()  # no code
        os.utime(code / "module.py", (1, 1))
        begun_anew = f"begun\nbegun anew: {code / 'module.py'} has changed\nended\nbegun\n"
        eventually(lambda: log.read_text() == begun_anew)
    finally:
        reloader.send_signal(signal.SIGTERM)
        reloader.wait(30)
    assert log.read_text() == f"{begun_anew}ended\n"


def test_logs_are_followed_by_whole_lines_and_steer_no_terminal(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_text("before\n")
    logs = LogFollower(tmp_path, color=False)
    with log.open("a") as file:
        file.write("one\n\x1b[2Jtwo")
        file.flush()
        assert list(logs.new_lines()) == ["api       one"]
        file.write("!\n")
    assert list(logs.new_lines()) == [r"api       \x1b[2Jtwo!"]
    (tmp_path / "worker.log").write_text("new\n")
    log.write_text("")  # set aside
    assert list(logs.new_lines()) == ["worker    new"]
