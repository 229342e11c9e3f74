"""`python -m tests.upgrade --from COMMIT`: a service is upgraded while it is used, and goes back; no request may fail.

The older commit's processes (two APIs, a worker) are replaced by this checkout's one after the other, as an
orchestrator does it: a process that is ready takes its place, then the one that it replaces is told to end. The schema
is upgraded first, beside the old processes. Then the old ones come back, on the new schema. Exit 1 when a request
failed, an image was lost or `umbel reconcile` finds anything.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import click
import httpx

from stack.postgres import Postgres
from stack.redis import Redis
from tests.faults.images import image_bytes
from tests.processes import eventually, free_port

ROOT = Path(__file__).parents[2]
SEED = 1
STEP_SECONDS = 8.0  # of use between two replacements


@dataclass
class Code:
    """A checkout whose processes are run, on the same database, blob store and Redis."""

    name: str
    root: Path
    environment: dict[str, str]
    log: Path

    def umbel(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self._command(arguments),
            env=self._environment(),
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        with self.log.open("a") as output:
            return subprocess.Popen(
                self._command(arguments),
                env=self._environment() | environment,
                cwd=self.root,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-P", "-m", "cli.main", *arguments]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment, "PYTHONPATH": f"{self.root}{os.pathsep}{self.root / 'client'}"}


@dataclass
class Api:
    """One API process in the rotation of the load balancer that `Use` is."""

    code: Code
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.process = self.code.start("api", UMBEL_PORT=str(self.port), UMBEL_API_PROCESSES="1")
        self.url = f"http://127.0.0.1:{self.port}"
        eventually(self.alive, within=120)

    def alive(self) -> bool:
        assert self.process.poll() is None, f"the API of {self.code.name} has ended: see {self.code.log}"
        try:
            return httpx.get(f"{self.url}/healthz", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


class Use:
    """Twenty requests a second, to the APIs in rotation in turn."""

    def __init__(self, rate: float) -> None:
        self.rotation: list[Api] = []
        self.failures: list[str] = []
        self.requests: Counter[str] = Counter()
        self.images: list[str] = []
        self.jobs: list[str] = []
        self._rate, self._rng, self._number = rate, Random(SEED), 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(4)]
        self._lock = threading.Lock()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not self._stop.wait(len(self._threads) / self._rate * self._rng.uniform(0.5, 1.5)):
                with self._lock:
                    self._number += 1
                    number, api = self._number, self.rotation[self._number % len(self.rotation)]
                what = self._rng.choice(["upload", "search", "list", "label", "picture"] if self.images else ["upload"])
                try:
                    self._ask(client, api, what, number)
                except Exception as error:
                    self.failures.append(f"{what} by {api.code.name}: {error}")

    def _ask(self, client: httpx.Client, api: Api, what: str, number: int) -> None:
        image = self._rng.choice(self.images) if self.images else ""
        file = {"file": (f"{number}.jpg", image_bytes(SEED, number), "image/jpeg")}
        send: dict[str, dict[str, Any]] = {
            "upload": {"method": "POST", "url": "/v1/images", "files": file, "data": {"label": "new"}},
            "search": {"method": "POST", "url": "/v1/search", "json": {"image_id": image}},
            "picture": {"method": "POST", "url": "/v1/search", "files": file},
            "list": {"method": "GET", "url": "/v1/images"},
            "label": {"method": "PATCH", "url": f"/v1/images/{image}", "json": {"label": f"l{number % 7}"}},
        }
        answer = client.request(**{**send[what], "url": api.url + send[what]["url"]})
        self.requests[what] += 1
        waits = answer.status_code in (409, 503) and answer.json()["code"] == "not_embedded"
        if answer.status_code >= 400 and not waits:
            self.failures.append(f"{what} by {api.code.name}: {answer.status_code} {answer.text[:200]}")
        elif what == "upload" and answer.status_code == 202:
            self.images.append(answer.json()["image_id"])
            self.jobs.append(answer.json()["job_id"])


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="umbel-former-") as folder:
        root = Path(folder, "umbel")
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", root, commit], cwd=ROOT, check=True)
        try:
            yield root
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", root], cwd=ROOT, check=True)


def start_worker(code: Code, name: str, api: Api) -> "subprocess.Popen[str]":
    process = code.start("worker", "--name", name)

    def ready() -> bool:
        assert process.poll() is None, f"the worker of {code.name} has ended: see {code.log}"
        workers = httpx.get(f"{api.url}/readyz", trust_env=False).json()["workers"]
        return any(worker["name"] == name for worker in workers)

    eventually(ready, within=120)
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    status = process.wait(60)
    assert status == 0, f"told to end, it ended with {status}"


def replaced(use: Use, code: Code, worker: "subprocess.Popen[str]", name: str) -> "subprocess.Popen[str]":
    """The worker of `code`, after all processes are its own."""
    for former in list(use.rotation):
        use.rotation.append(Api(code))
        time.sleep(STEP_SECONDS)
        use.rotation.remove(former)
        time.sleep(1)  # what was sent to it is answered
        end(former.process)
        print(f"  an API of {former.code.name} is replaced by one of {code.name}", flush=True)
    new = start_worker(code, name, use.rotation[0])
    end(worker)
    print(f"  the worker is one of {code.name}", flush=True)
    time.sleep(STEP_SECONDS)
    return new


@click.command(help=__doc__)
@click.option("--from", "commit", required=True, help="The version to come from, as git names it.")
@click.option("--rate", default=20.0, show_default=True, help="Requests a second.")
def main(commit: str, rate: float) -> None:
    with ExitStack() as stack:
        former_root = stack.enter_context(checkout(commit))
        folder = tempfile.TemporaryDirectory(prefix="umbel-upgrade-", ignore_cleanup_errors=True)
        home = Path(stack.enter_context(folder))
        environment = {"UMBEL_HOME": str(home), "UMBEL_MEASURE_SECONDS": "0", "UMBEL_LOG_LEVEL": "INFO"}
        postgres, redis = Postgres(home, home / "run"), Redis(home, home / "run")
        for server in (postgres, redis):
            server.start()
            stack.callback(server.stop)
        former = Code(commit, former_root, environment, home / "former.log")
        this = Code("this checkout", ROOT, environment, home / "this.log")
        done = former.umbel("db", "upgrade")
        assert done.returncode == 0, done.stderr
        use = Use(rate)
        use.rotation += [Api(former), Api(former)]
        worker = start_worker(former, "embed@1", use.rotation[0])
        scheduler = former.start("scheduler")
        use.start()
        time.sleep(STEP_SECONDS)
        done = this.umbel("db", "upgrade")
        assert done.returncode == 0, done.stderr
        print(f"  the schema is upgraded, after {sum(use.requests.values())} requests", flush=True)
        time.sleep(STEP_SECONDS)
        worker = replaced(use, this, worker, "embed@2")
        print("and back", flush=True)
        worker = replaced(use, former, worker, "embed@3")
        use.stop()
        states = [settled(use.rotation[0], job) for job in use.jobs]
        for process in (worker, scheduler, *(api.process for api in use.rotation)):
            end(process)
        report = this.umbel("reconcile")
        clean = report.returncode == 0
        for line in [*use.failures[:20], *([] if clean else [report.stdout + report.stderr])]:
            print(f"  {line}")
        print(
            f"{sum(use.requests.values())} requests ({dict(use.requests)}), {len(use.failures)} failed; uploads:"
            f" {dict(Counter(states))}; reconcile: {'clean' if clean else 'not clean'}"
        )
        sys.exit(bool(use.failures or set(states) - {"succeeded"} or not clean))


def settled(api: Api, job: str) -> str:
    return str(httpx.get(f"{api.url}/v1/jobs/{job}?wait=30", trust_env=False, timeout=90).json()["status"])


if __name__ == "__main__":
    main()
