"""A whole stack of one's own: processes, ports, state."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from umbel_client import Umbel

from tests.conversions import share_conversions
from tests.processes import UMBEL, free_port


class Stack:
    """A stack in a home of its own, reached as a user reaches it."""

    def __init__(self) -> None:
        # Not below pytest's folder: its rights are reset by every session that starts, under the feet of Postgres.
        self.home = Path(tempfile.mkdtemp(prefix="umbel-e2e-"))
        share_conversions(self.home / "var")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # Without the variables of a `make test` that may have called us: what a user types inherits none.
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
            "UMBEL_HOME": str(self.home / "var"),
            "UMBEL_PORT": str(self.port),
            "UMBEL_LOG_LEVEL": "INFO",
            "COLUMNS": "120",
        }

    def umbel(self, *arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        command = [*UMBEL, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *arguments: object) -> "subprocess.Popen[str]":
        """A command that is not waited for."""
        return subprocess.Popen(
            [*UMBEL, *map(str, arguments)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=self.environment,
        )  # fmt: skip

    def service(self, name: str) -> dict[str, Any]:
        """One supervised process: its pid, state and restarts."""
        status = json.loads(self.umbel("status", "--json", check=False).stdout)
        return next(service for service in status["stack"]["services"] if service["name"] == name)

    def client(self) -> Umbel:
        return Umbel(self.url, retries=20)
