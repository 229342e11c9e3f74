"""Transactions that stay open: a dump while a model version is retired, a snapshot for which dead rows must stay."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from umbel_client import ApiError

from tests.faults.clients import PAUSE_SECONDS
from tests.faults.schedule import Fault
from tests.faults.target import NoTarget, Scene
from umbel.base.types import Queue
from umbel.jobs.claims import claim_items

CLAIMS = 9
QUICK_SECONDS = 0.1  # the quickest of them, since cores are busy; one takes milliseconds, with few rows to step over
BEGUN_SECONDS = 60
TABLES = """
SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
"""


def hold_snapshot(scene: Scene, fault: Fault) -> None:
    """A transaction looks at the database as it was, as a backup or a forgotten session does, and claims stay quick.

    Raises AssertionError if they do not.
    """
    until = time.monotonic() + fault.seconds
    while time.monotonic() < until and not scene.stop.is_set():
        with suppress(psycopg.Error), scene.target.ledger() as connection:  # once more after each end of Postgres
            while time.monotonic() < until and not scene.stop.wait(PAUSE_SECONDS):
                connection.execute("SELECT count(*) FROM collection")
    took = [seconds for _ in range(CLAIMS) if (seconds := _claimed(scene)) is not None]
    if took:
        assert min(took) < QUICK_SECONDS, f"claims take {[round(each, 3) for each in took]} s"


def _claimed(scene: Scene) -> float | None:
    """Seconds that one claim of every queue takes; it is taken back. None while Postgres is away."""
    engine = create_engine(scene.target.settings.database)
    try:
        with Session(engine) as session:
            session.connection()
            began = time.monotonic()
            for queue in (Queue.SINGLE, Queue.BULK):
                claim_items(session, queue, owner="faults", limit=64, lease_seconds=60)
            took = time.monotonic() - began
            session.rollback()
            return took
    except DBAPIError:
        return None
    finally:
        engine.dispose()


def dump_during_retire(scene: Scene, fault: Fault) -> None:
    """A model version is retired while a transaction reads all tables: its vectors go when that has ended, and
    neither uploads nor searches wait for either.

    Raises AssertionError if the vectors stay.
    """
    version = _backfilled(scene)
    with suppress(psycopg.Error), _dump(scene):  # it may end with Postgres, through another fault
        scene.clients.ask(lambda api: api.models.retire(version))
        scene.stop.wait(fault.seconds)


def _backfilled(scene: Scene) -> UUID:
    """Another model version, which has some vectors. Raises NoTarget if it does not come to that."""
    weights = _checkpoint(scene.target.home)
    version = scene.clients.ask(lambda api: api.models.register(weights, weights.with_suffix(".json"))).id
    try:
        work = scene.clients.ask(lambda api: api.admin.reindex(model_version=version))
    except ApiError as error:  # such as one that an answer which got lost has begun
        raise NoTarget(f"no reindex: {error}") from error
    until = time.monotonic() + BEGUN_SECONDS
    while time.monotonic() < until:
        if scene.clients.ask(lambda api: api.models.get(version)).index:
            scene.clients.ask(lambda api: api.jobs.cancel(work.job_id))
            return version
        scene.clients.pause(PAUSE_SECONDS)
    scene.clients.ask(lambda api: api.jobs.cancel(work.job_id))
    raise NoTarget(f"the reindex has not begun after {BEGUN_SECONDS} s")


def _checkpoint(folder: Path) -> Path:
    """The shipped model with other weights; made once."""
    path = folder / "other.safetensors"
    if not path.exists():
        from tests.checkpoints import variant  # noqa: PLC0415 - torch takes its time

        variant(path)
    return path


@contextmanager
def _dump(scene: Scene) -> Iterator[None]:
    """What pg_dump does before it copies: a snapshot, and ACCESS SHARE on each table."""
    connection: psycopg.Connection[Any]
    with scene.target.ledger() as connection:
        tables = connection.execute(TABLES).fetchall()
        connection.execute("LOCK TABLE " + ", ".join(table for (table,) in tables) + " IN ACCESS SHARE MODE")
        yield
