"""What the stack uses, looked at again and again: one row of figures at a time, named `kind.part`."""

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
from redis import Redis
from redis.exceptions import RedisError

from tests.faults.target import Target, children
from tests.soak.load import Load, Users
from umbel.base.types import Queue

MB = 2**20

# A partitioned table counts with its partitions.
SIZES = """
SELECT coalesce(parent.relname, c.relname), sum(pg_table_size(c.oid)), sum(pg_indexes_size(c.oid)),
       sum(coalesce(s.n_dead_tup, 0))
FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class parent ON parent.oid = i.inhparent
LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' GROUP BY 1
"""
SESSIONS = """
SELECT coalesce(nullif(application_name, ''), 'other'), count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' GROUP BY 1
"""
PENDING = "SELECT queue, count(*) FROM job_item WHERE state = 'pending' GROUP BY 1"

Row = dict[str, float]


class Recorder:
    """A thread that adds a row every so many seconds while it is entered."""

    def __init__(self, target: Target, users: Users, load: Load, every: float) -> None:
        self.rows: list[Row] = []
        self._target, self._users, self._load, self._every = target, users, load, every
        self._began = time.monotonic()
        self._redis = Redis.from_url(target.settings.redis, socket_timeout=5)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._redis.close()

    def _run(self) -> None:
        while not self._done.wait(self._every):
            row: Row = {"seconds": time.monotonic() - self._began}
            for part in (self._processes, self._database, self._queues, self._disk, self._service):
                with suppress(psycopg.Error, RedisError):  # a figure that is not to be had leaves a gap
                    row.update(part())
            self.rows.append(row)

    def _processes(self) -> Iterator[tuple[str, float]]:
        for name, group in self._groups().items():
            yield f"memory_mb.{name}", sum(_proportional(process) for process in group) / MB
            yield f"files.{name}", sum(_open_files(process) for process in group)
            yield f"threads.{name}", sum(_threads(process) for process in group)

    def _groups(self) -> dict[str, list[psutil.Process]]:
        """The processes of each part; those that the worker decodes in by themselves."""
        groups = {}
        for name in ("api", "worker", "scheduler", "postgres", "redis"):
            part = self._target.process(name)
            groups[name] = [part, *children(part)]
        [worker, *groups["decoders"]] = groups["worker"]
        return groups | {"worker": [worker], "supervisor": [self._target.supervisor()]}

    def _database(self) -> Iterator[tuple[str, float]]:
        with self._target.ledger(autocommit=True) as connection:
            for table, heap, indexes, dead in connection.execute(SIZES):
                [[rows]] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
                yield f"table_mb.{table}", float(heap) / MB
                yield f"index_mb.{table}", float(indexes) / MB
                yield f"dead_rows.{table}", float(dead)
                yield f"rows.{table}", rows
            for name, sessions in connection.execute(SESSIONS):
                yield f"connections.postgres, {name}", sessions

    def _queues(self) -> Iterator[tuple[str, float]]:
        with self._target.ledger(autocommit=True) as connection:
            pending = dict(connection.execute(PENDING).fetchall())
        for queue in Queue:
            yield f"queue.pending, {queue}", pending.get(queue, 0)
            yield f"queue.wake-ups, {queue}", self._redis.llen(queue)
        info: dict[str, Any] = self._redis.info()  # type: ignore[assignment]
        yield "connections.redis", info["connected_clients"]
        yield "memory_mb.data of redis", info["used_memory"] / MB

    def _disk(self) -> Iterator[tuple[str, float]]:
        home = self._target.settings.home
        yield "disk_mb.blobs", _size(home / "blobs") / MB
        yield "disk_mb.wal", _size(home / "postgres" / "pg_wal") / MB
        yield "disk_mb.redis", _size(home / "redis") / MB
        yield "disk_mb.logs", _size(home / "logs") / MB
        yield "disk_mb.spool", (_size(home / "spool") + self._nameless(home / "spool")) / MB

    def _nameless(self, folder: Path) -> int:
        """Bytes of files that processes have open in a folder, and that have no name there."""
        found = {}
        for group in self._groups().values():
            for process in group:
                with suppress(OSError):
                    for handle in Path(f"/proc/{process.pid}/fd").iterdir():
                        with suppress(OSError):
                            if os.readlink(handle).startswith(f"{folder}/"):
                                seen = handle.stat()
                                found[seen.st_ino] = seen.st_blocks * 512
        return sum(found.values())

    def _service(self) -> Iterator[tuple[str, float]]:
        waits, self._users.waits = self._users.waits, []
        if waits:
            yield "search_ms.median", 1000 * statistics.median(waits)
        yield "lag_seconds.clients", self._load.lag
        yield "operations.done", self._users.done.total()
        yield "rows.pictures kept", len(self._users.kept)


def _proportional(process: psutil.Process) -> int:
    """Its memory in bytes, where what n processes share counts a nth."""
    with suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0


def _open_files(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.num_fds())
    return 0


def _threads(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.num_threads())
    return 0


def _size(folder: Path) -> int:
    """Bytes on the disk of all files in and below a folder."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # gone meanwhile
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
    return total
