"""A real worker process for a test, by its name in the ledger."""

from pathlib import Path

from tests.processes import Process, eventually
from umbel.base.database import transaction
from umbel.jobs import workers


def start_worker(name: str, log: Path, **environment: str) -> Process:
    """A worker that has loaded its model and taken its place."""
    process = Process("worker", "--name", name, log=log, UMBEL_LOG_LEVEL="INFO", **environment)
    eventually(lambda: alive(name) or not process.running(), within=90)
    assert process.running(), log.read_text()[-2000:]
    return process


def alive(name: str) -> bool:
    with transaction() as session:
        return any(row.name == name for row in workers.list_workers(session, seen_within_seconds=10))
