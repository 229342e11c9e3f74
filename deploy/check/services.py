"""Run the images that `images.py` has built as docker-compose.yml says, without an engine, and use the service.

Every process runs in its image's root file system, read-only, with Compose's command, environment, user, volumes and
temporary file systems, in a network namespace without a way out. In the place of the images of Postgres and Redis stand
the servers of the wheels, given the commands of the compose file and its initialisation script. Then all again with the
replica and, where PgBouncer is installed, the pooler of deploy/compose/.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from composed import OVER, composed
from images import ROOT, Stage, inside

from stack.binaries import let_run_postgres, let_run_redis, postgres_client, postgres_programs, redis_server
from stack.server_user import BARE, let_through, server_account

HOSTS = "127.0.0.1 localhost postgres redis s3 api pooler\n127.0.0.2 postgres-replica\n"
SECRETS = ("POSTGRES_PASSWORD", "UMBEL_POSTGRES_PASSWORD", "REPLICATION_PASSWORD", "REDIS_PASSWORD")

PHOTO = "/var/lib/umbel/blobs/photo.jpg"


class Service:
    """One service of the compose file."""

    def __init__(self, name: str, told: dict[str, Any], image: Stage, folder: Path) -> None:
        self.name, self.told, self.image, self.folder = name, told, image, folder
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, arguments: list[str] | None = None) -> list[str]:
        """The command line; arguments: in the place of Compose's, run by themselves."""
        command = arguments or [*self.image.entrypoint, *self.told.get("command", self.image.cmd)]
        binds = [(self.folder / "hosts", "/etc/hosts"), *map(self._volume, self.told.get("volumes", ()))]
        tmpfs = [tuple(each.split(":", 1)) for each in self.told.get("tmpfs", ())]
        shell = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', self.image.workdir, *command]
        return inside(
            self.image.root, binds, shell, user=self.image.user, tmpfs=tmpfs, read_only=self.told["read_only"]
        )

    def run(self, arguments: list[str] | None = None, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run to its end."""
        return subprocess.run(
            self.command(arguments), env={**self._environment(), **more}, capture_output=True, text=True, check=False
        )

    def start(self) -> None:
        with (self.folder / f"{self.name}.log").open("wb") as log:
            self.process = subprocess.Popen(self.command(), env=self._environment(), stdout=log, stderr=log)

    def healthy(self) -> bool:
        """What the health check says. Raises SystemExit when the process has ended."""
        assert self.process
        if self.process.poll() is not None:
            sys.exit(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
        return self.run(self.told["healthcheck"]["test"][1:]).returncode == 0

    def stop(self) -> None:
        """SIGTERM to the process itself, behind the namespace's. Its exit status becomes ours."""
        self._send(signal.SIGTERM)
        code = self.process.wait(60)  # type: ignore[union-attr]
        assert code == 0, f"{self.name} ended with {code} when told to:\n{self.log()}"

    def kill(self) -> None:
        """End it and all that it started, if it has not ended. To kill the namespace's process alone would leave it."""
        if self.process and self.process.poll() is None:
            self._send(signal.SIGKILL)
            self.process.wait(10)

    def _send(self, signal_: signal.Signals) -> None:
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal_)

    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text()[-3000:]

    def _environment(self) -> dict[str, str]:
        told = self.told.get("environment", {})
        return {**self.image.env, **{name: str(value) for name, value in told.items() if value is not None}}

    def _volume(self, volume: str) -> tuple[Path, str]:
        source, target = volume.split(":")[:2]
        held = self.folder / "volumes" / Path(source).name
        if not held.exists():  # a new volume takes the owner of the folder it is mounted on
            held.mkdir(parents=True)
            within = self.image.root / target.lstrip("/")
            owner = within.stat() if within.exists() else held.stat()
            os.chown(held, owner.st_uid, owner.st_gid)
        return held, target


def bring_up_loopback() -> None:
    """A new network namespace has a loopback device, switched off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14s", b"lo", 1, b"")  # IFF_UP, netdevice(7)
        fcntl.ioctl(control, 0x8914, request)  # SIOCSIFFLAGS


def start_postgres(told: dict[str, Any], folder: Path) -> "subprocess.Popen[bytes]":
    account = server_account()
    assert account, "run this as root"
    let_run_postgres(account)
    data = folder / "postgres"
    data.mkdir(mode=0o700)
    os.chown(data, account.uid, account.gid)
    let_through(data, account)
    become, programs = account.options(), postgres_programs()
    arguments = told["environment"]["POSTGRES_INITDB_ARGS"].split()
    made = [programs / "initdb", *arguments, "--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256"]
    subprocess.run([*made, "-D", data], check=True, stdout=subprocess.DEVNULL, env=BARE, cwd="/", **become)
    options = ["-D", str(data), "-k", str(data), "-clisten_addresses=127.0.0.1"]
    log = (folder / "postgres.log").open("wb")
    server = subprocess.Popen(
        [programs / "postgres", *options, *told["command"][1:]], stdout=log, stderr=log, env=BARE, cwd="/", **become
    )
    ready = [postgres_client("pg_isready"), "--quiet", "--host", data]
    wait("postgres", lambda: subprocess.run(ready, check=False).returncode == 0)
    run_in_postgres("init.sh", told, folder)
    return server


def run_in_postgres(script: str, told: dict[str, Any], folder: Path) -> None:
    """A script of deploy/postgres/, as in the container of the database."""
    data, path = str(folder / "postgres"), f"{postgres_programs()}:{os.environ['PATH']}"
    environment = {**told["environment"], "PGHOST": data, "PGDATA": data, "PATH": path}
    subprocess.run([ROOT / "deploy/postgres" / script], env=environment, check=True)


def start_beside(name: str, told: dict[str, Any], folder: Path, options: str = "") -> "subprocess.Popen[bytes]":
    """A replica or a pooler, by the command of its compose file and `options` behind it, with its files in `folder`."""
    account = server_account()
    assert account, "run this as root"
    files = folder / name
    files.mkdir(mode=0o700)
    os.chown(files, account.uid, account.gid)
    let_through(files, account)
    [script] = told["command"]
    command = [*told["entrypoint"], script.replace("/tmp", str(files)).rstrip() + options]
    path = f"{postgres_programs()}:{os.environ['PATH']}"
    given = {name: str(value) for name, value in told["environment"].items()}
    environment = {**given, "PGDATA": str(files / "data"), "PATH": path}
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd="/", **account.options())
    test = [*told["healthcheck"]["test"][1:], f"--host={name}"]

    def healthy() -> bool:
        if server.poll() is not None:
            sys.exit(f"{name} ended with {server.returncode}:\n{log.read_text()[-3000:]}")
        return subprocess.run([postgres_programs() / test[0], *test[1:]], check=False).returncode == 0

    wait(name, healthy)
    return server


def start_redis(told: dict[str, Any], folder: Path) -> "subprocess.Popen[bytes]":
    let_run_redis(None)
    (folder / "redis").mkdir()
    command = [word.replace("/data", str(folder / "redis")) for word in told["command"]]
    environment = {**told["environment"], "PATH": f"{redis_server().parent}:{os.environ['PATH']}"}
    log = (folder / "redis.log").open("wb")
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def wait(what: str, look: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            sys.exit(f"{what} is not healthy after {seconds:g} s")
        time.sleep(0.5)
    print(f"{what}: healthy", flush=True)


def use(api: Service, backup: Service, folder: Path) -> str:
    """What a person does first: a key, a picture, a search, a look by SQL, a backup. Returns the key."""
    key = json.loads(succeeded(api.run(["umbel", "keys", "create", "--name=check", "--scope=admin", "--json"])))["key"]
    shutil.copy(ROOT / "docs/images/search.jpg", folder / "volumes/blobs/photo.jpg")
    done = json.loads(succeeded(api.run(["umbel", "import", PHOTO, "--wait", "--json"], **with_key(key))))
    assert done["jobs"][0]["counts"]["indexed"] == 1, done
    search(api, key)
    assert succeeded(api.run(["umbel", "sql", "-c", "SELECT count(*) FROM images", "--", "-At"])).strip() == "1"
    os.chown(backup._volume(backup.told["volumes"][1])[0], 10001, 10001)
    print(succeeded(backup.run()).strip())
    return str(key)


def search(api: Service, key: str) -> None:
    found = json.loads(succeeded(api.run(["umbel", "similar", PHOTO, "--json"], **with_key(key))))
    assert found["matches"][0]["similarity"] > 0.99, found


def with_key(key: str) -> dict[str, str]:
    return {"UMBEL_KEY": key, "UMBEL_HOST": "127.0.0.1"}


def images_listed(key: str) -> bool:
    return bool(json.loads(asked(key, "/v1/images"))["items"])


def answered_by_replica(key: str) -> float:
    """Reads that the replica has answered, as the API counts them."""
    found = re.findall(
        r'^umbel_database_reads_total\{answered_by="replica"\} (.*)$', asked(key, "/metrics"), re.MULTILINE
    )
    return sum(map(float, found))


def asked(key: str, path: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:8080{path}", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request) as answer:
        return str(answer.read().decode())


def succeeded(done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode:
        sys.exit(f"{done.args[-1].splitlines()[-1]} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def running(services: dict[str, Any], images: dict[str, Stage], folder: Path) -> Iterator[dict[str, Service]]:
    """The project's own services by their names; at the end they are told to stop."""
    mine = {
        name: Service(name, services[name], images[services[name]["build"]["target"]], folder)
        for name in ("migrate", "api", "worker", "scheduler", "backup")
    }
    stay = [mine[name] for name in ("api", "worker", "scheduler")]
    try:
        succeeded(mine["migrate"].run())
        for service in stay:
            service.start()
        for service in stay:
            wait(service.name, service.healthy)
        yield mine
        for service in stay:
            service.stop()
    finally:
        for service in stay:
            service.kill()


def main(cache: Path) -> None:
    bring_up_loopback()
    folder = cache / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "hosts").write_text(HOSTS)
    subprocess.run(["mount", "--bind", folder / "hosts", "/etc/hosts"], check=True)  # of this namespace alone
    passwords = {name: secrets.token_hex(24) for name in SECRETS}
    images = {
        name: Stage(**{**told, "root": Path(told["root"])})
        for name, told in json.loads((cache / "images.json").read_text()).items()
    }
    services = composed(environment=passwords)["services"]
    servers = [start_postgres(services["postgres"], folder), start_redis(services["redis"], folder)]
    try:
        with running(services, images, folder) as mine:
            key = use(mine["api"], mine["backup"], folder)
        print("All services did their work and ended when told to.")
        over = [each for each in OVER if each.stem != "pooler" or shutil.which("pgbouncer")]
        services = composed(over, passwords)["services"]
        run_in_postgres("replication.sh", services["postgres"], folder)
        own_address = " -c listen_addresses=127.0.0.2"
        servers.append(start_beside("postgres-replica", services["postgres-replica"], folder, own_address))
        if "pooler" in services:
            servers.append(start_beside("pooler", services["pooler"], folder))
        with running(services, images, folder) as mine:
            search(mine["api"], key)
            wait("reads from the replica", lambda: images_listed(key) and answered_by_replica(key) > 0)
        print(f"So they did with {', '.join(each.stem for each in over)}.")
    finally:
        for server in reversed(servers):
            server.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
