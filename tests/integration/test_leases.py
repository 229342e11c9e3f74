"""Leases: they are prolonged while a worker gets on, and what happens when one ends with its worker still at it."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID

import numpy as np
import psutil
import pytest
from sqlalchemy import text

from tests.images import image_bytes
from tests.integration.factory import DIM, Factory, unit
from tests.integration.uploads import add_image
from tests.integration.workers import alive, start_worker
from tests.processes import eventually, frozen
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.types import LoadedModel, Pixels, Queue, Vectors
from umbel.embedding.embedding import EmbeddingHandler
from umbel.gallery.upload import Upload
from umbel.imports.imports import open_import
from umbel.jobs import claims, workers
from umbel.jobs.leases import Leases
from umbel.jobs.wakeup import waker
from worker.decoders import WorkerDecoders
from worker.models import OneModel

pytestmark = pytest.mark.usefixtures("database", "redis")

LONG_AGO = -3600.0
LARGE = (4000, 3000)


def uploaded(count: int, *, size: tuple[int, int] = (96, 64), kind: str = "JPEG") -> None:
    with transaction() as session:
        job_id = open_import(session, "default")
    for seed in range(count):
        data = image_bytes(seed, size=size, kind=kind)
        add_image(transaction, blobs(), settings(), Upload(data, name=f"{seed}", job_id=job_id))


def claimed(count: int, *, owner: str = "me") -> list[UUID]:
    """Items whose leases ended long ago, and that nobody else has taken since."""
    with transaction() as session:
        found = claims.claim_items(session, Queue.BULK, owner=owner, limit=count, lease_seconds=LONG_AGO)
    return [item.id for item in found]


def running() -> set[UUID]:
    """The items whose lease has not ended."""
    with transaction() as session:
        return set(session.scalars(text("SELECT id FROM job_item WHERE lease_until > now() - interval '1 min'")))


def expire_leases() -> None:
    with transaction() as session:
        session.execute(text("UPDATE job_item SET lease_until = now() - interval '1 h'"))


def leases(*, seconds: float = 1e-6) -> Leases:
    """With a length of nothing every lease is due for renewal, and its new end is this moment."""
    made = Leases(transaction, "me", seconds)
    made.note_progress()
    return made


def test_what_is_held_is_renewed_and_what_was_let_go_is_not() -> None:
    uploaded(3)
    first, second, third = claimed(3)
    ours = leases()
    ours.hold([first, second, third])
    ours.let_go([second])
    ours.renew()
    assert running() == {first, third}


def test_a_lease_that_was_just_taken_is_left_as_it_is() -> None:
    uploaded(1)
    ours = leases(seconds=60)
    ours.hold(claimed(1))
    ours.renew()
    assert running() == set()


def test_what_hangs_keeps_nothing_while_another_line_gets_on() -> None:
    uploaded(1)
    hung, other = Leases(transaction, "me", 1e-6), leases()
    hung.hold(claimed(1))
    other.note_progress()
    hung.renew()
    assert running() == set()


def test_what_another_has_taken_over_is_not_ours_to_renew() -> None:
    uploaded(2)
    items = claimed(2)
    with transaction() as session:
        session.execute(text("UPDATE job_item SET lease_owner = 'other' WHERE id = :id"), {"id": items[0]})
    ours = leases()
    ours.hold(items)
    ours.renew()
    assert running() == {items[1]}


def test_what_is_being_stored_is_not_waited_for() -> None:
    uploaded(2)
    items = claimed(2)
    ours = leases()
    ours.hold(items)
    with transaction() as session:
        session.execute(text("SELECT FROM job_item WHERE id = :id FOR UPDATE"), {"id": items[0]})
        ours.renew()
    assert running() == {items[1]}


class Model:
    """An embedder that does something else first."""

    weights_sha256, dim, device, batch_size = "0" * 64, DIM, "cpu", 4

    def __init__(self, first: Callable[[], None]) -> None:
        self._first = first

    def embed(self, pixels: Sequence[Pixels], *, background: bool = False) -> Vectors:
        self._first()
        return np.stack([unit(seed) for seed in range(len(pixels))])


def line(ours: Leases, model: Model, decoder: WorkerDecoders) -> EmbeddingHandler:
    with transaction() as session:
        version = Factory(session).version().id
    return EmbeddingHandler(
        transaction=transaction,
        settings=settings(),
        leases=ours,
        models=OneModel(LoadedModel(version, model, decoder)),  # type: ignore[arg-type]
    )


def test_a_batch_is_held_until_it_is_stored(decoder: WorkerDecoders) -> None:
    uploaded(4)
    ours = leases()
    kept: list[set[UUID]] = []

    def slow() -> None:
        expire_leases()
        ours.renew()
        kept.append(running())

    line(ours, Model(slow), decoder).run([Queue.BULK])
    assert ([len(each) for each in kept], running()) == ([4], set())


def test_what_an_error_stops_is_kept_no_longer(decoder: WorkerDecoders, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded(4)
    ours = leases()

    def broken(*_: object) -> int:
        raise MemoryError

    monkeypatch.setattr(EmbeddingHandler, "store", broken)
    with pytest.raises(MemoryError):
        line(ours, Model(lambda: None), decoder).run([Queue.BULK])
    expire_leases()
    ours.renew()
    assert running() == set()


@pytest.mark.slow
def test_a_worker_that_was_forgotten_writes_itself_down_again(tmp_path: Path) -> None:
    worker = start_worker("embed@woken", tmp_path / "worker.log", UMBEL_LEASE_SECONDS="1")
    try:
        with transaction() as session:
            workers.delete_worker(session, "embed@woken")
        eventually(lambda: alive("embed@woken"), within=30)
    finally:
        worker.kill()


@pytest.mark.slow
def test_a_worker_that_hangs_loses_its_batch_although_it_lives(tmp_path: Path) -> None:
    hung = {"UMBEL_LEASE_SECONDS": "1", "UMBEL_DECODE_PROCESSES": "1"}
    worker = start_worker("embed@hung", tmp_path / "worker.log", **hung)
    try:
        with frozen(psutil.Process(worker.pid).children(recursive=True)):
            uploaded(2)
            waker().wake(Queue.BULK)
            eventually(lambda: overdue("embed@hung"), within=30)
            assert alive("embed@hung")
    finally:
        worker.kill()


def overdue(owner: str) -> int:
    """Items of `owner` whose lease ended three leases ago."""
    ended = "SELECT count(*) FROM job_item WHERE lease_owner = :owner AND lease_until < now() - interval '3 s'"
    with transaction() as session:
        return session.scalar(text(ended), {"owner": owner}) or 0


@pytest.mark.slow
def test_a_worker_that_is_slow_keeps_its_batch(tmp_path: Path) -> None:
    uploaded(6, size=LARGE, kind="PNG")
    slow = {"UMBEL_LEASE_SECONDS": "1", "UMBEL_DECODE_PROCESSES": "1"}
    worker = start_worker("embed@slow", tmp_path / "worker.log", **slow)
    seen: dict[UUID, set[datetime]] = {}

    def prolonged() -> bool:
        with transaction() as session:
            for row in session.execute(text("SELECT id, lease_until FROM job_item WHERE lease_owner = 'embed@slow'")):
                seen.setdefault(row.id, set()).add(row.lease_until)
        return any(len(ends) > 1 for ends in seen.values())

    try:
        eventually(prolonged, within=60, every=0.02)
    finally:
        worker.kill()
