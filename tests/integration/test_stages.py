"""A handler's stages: what is stored waits for no reader, and no stage works on when the leases are let go."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.images import image_bytes
from tests.integration.factory import Factory
from umbel.base.blobs import Blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.types import JobType, Queue
from umbel.decoding.images import inspect
from umbel.gallery.storing import ReceivedImage
from umbel.imports import entries, source_rows
from umbel.imports.entries import NewEntry
from umbel.imports.fetching import FetchingHandler
from umbel.imports.turns import Turns
from umbel.jobs import claims
from umbel.jobs.leases import Leases
from umbel.jobs.runner import Batch, ItemHandler
from worker.decoders import WorkerDecoders

pytestmark = pytest.mark.usefixtures("database", "redis")


def test_what_is_stored_waits_for_no_source(decoder: WorkerDecoders, blobs: Blobs) -> None:
    with transaction() as session:
        make = Factory(session)
        make.version()
        job_id = make.job(job_type=JobType.IMPORT)
        entries.insert_entries(session, job_id, [NewEntry("a.jpg", "a.jpg")])
        source_rows.insert_source(session, job_id, {}, label_from_folder=False, dry_run=False)
    answers = Event()
    with ThreadPoolExecutor(1) as readers, ThreadPoolExecutor(1) as writers, ThreadPoolExecutor(1) as stores:
        readers.submit(answers.wait)  # a source that is slow
        handler = FetchingHandler(
            transaction=transaction,
            settings=settings(),
            leases=Leases(transaction, "me", 60),
            blobs=blobs,
            decoder=decoder,
            readers=readers,
            writers=writers,
            turns=Turns(transaction),
            wake=lambda _: None,
        )
        handler._job = job_id
        batch = handler._claim([Queue.FETCH], claims.claim_items, 9)
        assert batch is not None
        data = image_bytes(1)
        [entry] = batch.items
        batch.read = {entry.id: ReceivedImage.of(data, inspect(data, settings()), entry.collection)}
        stored = stores.submit(handler.store, batch)
        try:
            stored.result(30)
        finally:
            answers.set()


class Failing(ItemHandler[Batch]):
    """Its second stage fails; `told` is what happens then, in order."""

    queues = (Queue.SINGLE,)
    batch_type = Batch
    ended_as = "failed"
    told: list[str]

    def limit(self, batches: int) -> int:
        return 1

    def work(self, batches: Iterator[Batch]) -> Generator[Batch, None, None]:
        try:
            yield from batches
        finally:
            self.told.append("stages closed")

    def store_items(self, session: Session, batch: Any) -> None:
        raise ArithmeticError("It cannot be stored.")


class Told(Leases):
    def __init__(self, told: list[str]) -> None:
        super().__init__(transaction, "me", 60)
        self._told = told

    def let_go_of_all(self) -> None:
        self._told.append("leases let go")
        super().let_go_of_all()


def test_the_stages_are_closed_before_the_leases_are_let_go() -> None:
    with transaction() as session:
        make = Factory(session)
        job_id = make.job()
        for _ in range(3):
            make.item(job_id)
    told: list[str] = []
    handler = Failing(transaction=transaction, settings=settings(), leases=Told(told))
    handler.told = told
    with pytest.raises(ArithmeticError):
        handler.run()
    assert told == ["stages closed", "leases let go"]
    assert handler.leases.progress.silent_seconds() == 0
