"""`python -m tests.scale_out`: docs/how-to/scale-out.md as it stands, each machine a loopback address and a folder.

A block belongs to the machine that it names; `again`: what the machine ran before is ended first. In the place of the
bucket stands moto. After each part the service is used, and the end is a search through nginx that a replica answered.
Needs root (for Postgres' own user), PgBouncer and nginx. Exit 1 when a command fails. Where a port is taken, in a
network of its own: `unshare --net sh -c 'ip link set lo up && python -m tests.scale_out'`.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import httpx

from stack.binaries import let_run_postgres, postgres_programs, redis_server
from stack.server_user import let_through, server_account
from tests.conversions import FOLDER, share_conversions
from tests.processes import eventually
from tests.s3_server import s3_server

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "scale-out.md"
BLOCKS = re.findall(r"^```(\w+) (\w+)( again)?\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
NAMES = dict.fromkeys(name for language, name, _, _ in BLOCKS if language == "bash")
ADDRESSES = {"10.0.0.0/24": "127.0.0.0/8", "10.0.0.0/8": "127.0.0.0/8", "10.0.0.": "127.0.9."}
NEWCOMERS = ("worker", "replica", "pooler")  # that are given umbel.env by hand
AS_POSTGRES = ("initdb", "pg_ctl", "pg_basebackup", "pgbouncer")
PROGRAMS = (Path(sys.executable).parent, redis_server().parent, postgres_programs())
KEY = {"aws_access_key_id": "umbel", "aws_secret_access_key": "change-me", "region_name": "us-east-1"}
PROXY = "127.0.9.5"


def here(text: str) -> str:
    """What the page says, with loopback addresses."""
    for theirs, ours in ADDRESSES.items():
        text = text.replace(theirs, ours)
    return text


class Machine:
    """A folder in which blocks run; what they leave running ends with it."""

    def __init__(self, name: str, folder: Path, programs: Path) -> None:
        self.name, self.folder = name, folder / name
        self.folder.mkdir()
        self.folder.chmod(0o755)
        (self.folder / "deploy").symlink_to(ROOT / "deploy")
        share_conversions(self.folder / "var")
        self._groups: list[int] = []
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("UMBEL_", "AWS_", "PG"))},
            "PATH": ":".join(map(str, [programs, *PROGRAMS, os.environ["PATH"]])),
            "PGDATA": str(self.folder / "data"),
            "UMBEL_MEASURE_SECONDS": "0",
            "NO_PROXY": "*",
        }
        self.environment |= {"PGHOST": str(self.folder)} if name == "database" else {}

    def run(self, block: str) -> None:
        log = self.folder / "log"
        with log.open("a") as out:
            shell = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", here(block)], cwd=self.folder, env=self.environment,
                stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._groups.append(shell.pid)
        try:
            failed = shell.wait(300)
        except subprocess.TimeoutExpired:
            failed = True
        if failed:
            logs = "\n".join(each.read_text()[-2000:] for each in (log, self.folder / "postgres.log") if each.exists())
            sys.exit(f"{self.name}: failed, or came to no end:\n{block}\n{logs}")

    def end(self) -> None:
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)
                eventually(lambda group=group: not alive(group), within=60)  # type: ignore[misc]
        self._groups.clear()

    def stop_postgres(self) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            subprocess.run(
                ["pg_ctl", "stop", "--mode", "fast"], env=self.environment, check=True, stdout=subprocess.DEVNULL
            )


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wrappers(folder: Path) -> Path:
    """Programs that refuse to run as root, as ones that become Postgres' user."""
    account = server_account()
    let_run_postgres(account)
    programs = folder / "programs"
    programs.mkdir()
    for name in AS_POSTGRES:
        found = postgres_programs() / name
        program = found if found.exists() else Path(shutil.which(name) or sys.exit(f"no {name} is installed here"))
        become = f"setpriv --reuid {account.uid} --regid {account.gid} --clear-groups " if account else ""
        (programs / name).write_text(f'#!/bin/sh\nexec {become}{shlex.quote(str(program))} "$@"\n')
        (programs / name).chmod(0o755)
    return programs


@contextmanager
def bucket() -> Iterator[None]:
    with s3_server(here("10.0.0.1"), 7070) as url:
        boto3.client("s3", endpoint_url=url, **KEY).create_bucket(Bucket="umbel")
        yield


@contextmanager
def nginx(servers: str, folder: Path) -> Iterator[None]:
    """nginx with what the page prints, on port 80 of the proxy's address."""
    folder.mkdir(exist_ok=True)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"daemon off; user root; pid {folder}/pid; error_log {folder}/error.log; events {{}}"
    listening = here(servers).replace("listen 80;", f"listen {PROXY}:80;")
    (folder / "nginx.conf").write_text(f"{main} http {{ access_log off; {places} {listening} }}")
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def get(host: str, path: str, key: str = "") -> httpx.Response:
    """From the proxy, as one who knows its name."""
    headers = {"Host": host} | ({"Authorization": f"Bearer {key}"} if key else {})
    return httpx.get(f"http://{PROXY}{path}", headers=headers, trust_env=False, timeout=30)


def found(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def answers(host: str, path: str) -> bool:
    try:
        return get(host, path).status_code == 200
    except httpx.HTTPError:
        return False


def replica_reads(key: str) -> float:
    """Reads that a replica has answered, as the first API counts them."""
    page = httpx.get(here("http://10.0.0.2:8080/metrics"), headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    return sum(map(float, re.findall(r'^umbel_database_reads_total\{answered_by="replica"\} (.*)$', page.text, re.M)))


def use_proxy(key: str) -> None:
    """Lists by way of both APIs, until a replica has answered some."""
    eventually(lambda: answers("pictures.example.org", "/healthz"))

    def answered() -> bool:
        images = found(get("pictures.example.org", "/v1/images", key))["items"]
        return len(images) > 0 and replica_reads(key) > 0

    eventually(answered, within=60, every=0.5)


def use_galleries(code: str, keys: dict[str, str], photo: Path) -> None:
    """Both by path, one by name, and the page's search over both."""
    eventually(lambda: answers("pictures.example.org", "/plants/healthz"))
    for path, name in (("/birds/v1/images", "birds"), ("/plants/v1/images", "plants")):
        found(get("pictures.example.org", path, keys[name]))
        assert get("pictures.example.org", path, "umbel_wrong").status_code == 401
    found(get("plants.example.org", "/v1/images", keys["plants"]))
    hosts = "import httpcore._backends.sync as s; m = s.SyncBackend.connect_tcp\n"
    hosts += f"s.SyncBackend.connect_tcp = lambda self, host, *a, **k: m(self, {PROXY!r}, *a, **k)\n"
    told = subprocess.run(
        [sys.executable, "-c", f"{hosts}KEYS = {keys!r}\n{code.replace('photo.jpg', str(photo))}"],
        capture_output=True, text=True, check=False, env={**os.environ, "NO_PROXY": "*"},
    )  # fmt: skip
    assert " birds " in told.stdout, told.stdout + told.stderr


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="umbel-", ignore_cleanup_errors=True)))
        folder.chmod(0o755)
        programs = wrappers(folder)
        os.environ[FOLDER] = str(folder / "conversions")
        (folder / "conversions").mkdir()
        machines = {name: Machine(name, folder, programs) for name in NAMES}
        for machine in reversed(machines.values()):
            stack.callback(machine.stop_postgres)
            stack.callback(machine.end)
        stack.enter_context(bucket())
        for name in ("database", "replica"):
            account = server_account()
            if account:
                os.chown(machines[name].folder, account.uid, account.gid)
                let_through(machines[name].folder / "data", account)
        installed = (
            "initdb --username postgres --auth-local trust --auth-host scram-sha-256 --set unix_socket_directories=.."
        )
        machines["database"].run(f"{installed}; pg_ctl --log postgres.log start")
        done: dict[str, int] = defaultdict(int)
        for language, name, again, block in BLOCKS:
            print(f"{name}: {block.splitlines()[0][:90]}", flush=True)
            if name in NEWCOMERS and not done[name] and name != "replica":
                shutil.copy(machines["api"].folder / "umbel.env", machines[name].folder)
            done[name] += 1
            key = machines["api"].folder / "key"
            if language == "bash":
                if again:
                    machines[name].end()
                machines[name].run(block)
            elif name == "pooler":
                with nginx(block, folder / "nginx"):
                    use_proxy(key.read_text().strip())
            elif language == "nginx":
                stack.enter_context(nginx(block, folder / "nginx"))
            else:
                keys = {"birds": key, "plants": machines["worker"].folder / "key"}
                photo = next((machines["api"].folder / "garden").rglob("*.jpg"))
                use_galleries(block, {name: path.read_text().strip() for name, path in keys.items()}, photo)
    print("All of the page was done, and a search went through nginx, the pooler and a replica.")


if __name__ == "__main__":
    main()
