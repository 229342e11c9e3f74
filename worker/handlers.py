"""The handlers that one worker process has, by the queues that they serve."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import structlog

from ml.data.duplicates import quick_pixel_similarities
from ml.evaluation.intervals import compare_models
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.one_at_a_time import OneAtATime
from umbel.base.settings import Settings
from umbel.base.types import Decoder, Models, Queue
from umbel.changes.bulk import BulkHandler
from umbel.embedding.embedding import EmbeddingHandler
from umbel.embedding.handoff import Handoff
from umbel.events.handler import EventHandler
from umbel.gallery.deletion import DeletionHandler
from umbel.imports.fetching import TURNS_AT_ONCE, FetchingHandler
from umbel.imports.reading import READERS
from umbel.imports.sync.finishing import SyncHandler
from umbel.imports.turns import Turns
from umbel.insights.comparison import ComparisonHandler
from umbel.insights.projection import MapHandler
from umbel.jobs.leases import Leases
from umbel.jobs.settling import SettlingHandler
from umbel.jobs.wakeup import waker
from umbel.models.collection_indexes import update_collection_indexes
from umbel.models.indexing import build_index
from umbel.operations import maintenance
from umbel.reindex.run import ReindexHandler
from worker.models import model_works
from worker.projecting import project_apart
from worker.sample import LazyGarden
from worker.watchdog import Watchdog

log = structlog.get_logger()


def try_to_work(queue: Queue, work: Callable[[], object]) -> None:
    """Do now what a wake-up would do later: what fails is told, and left to a request that waits or the sweep."""
    try:
        work()
    except Exception as error:
        log.warning("work is left to a wake-up", queue=queue, error=str(error))


class Handlers:
    """All handlers of a process; each runs in one thread at a time.

    name: of the process, which its leases carry; queues: those that it serves.
    """

    def __init__(
        self,
        settings: Settings,
        models: Models,
        decoder: Decoder,
        watchdog: Watchdog,
        *,
        name: str,
        queues: Sequence[Queue],
        stopping: Callable[[], bool],
    ) -> None:
        steps: dict[str, Any] = {"transaction": transaction, "stopping": stopping}
        items: dict[str, Any] = {**steps, "settings": settings}
        self._leases = [Leases(transaction, name, settings.lease_seconds) for _ in range(2 + TURNS_AT_ONCE)]
        embedding_leases, comparison_leases, *fetching_leases = self._leases
        handoff = Handoff(embedding_leases, self._embed_soon) if Queue.BULK in queues else None
        embedding = EmbeddingHandler(
            **items,
            leases=embedding_leases,
            models=models,
            fatal=watchdog.fatal,
            works=model_works,
            forwarded=watchdog.forwarded,
            handoff=handoff,
        )
        turns, garden = Turns(transaction, most_failing=TURNS_AT_ONCE // 2), LazyGarden()
        writers = ThreadPoolExecutor(READERS, thread_name_prefix="write")
        fetching = [
            FetchingHandler(
                **items,
                leases=leases,
                blobs=blobs(),
                decoder=decoder,
                readers=ThreadPoolExecutor(READERS, thread_name_prefix="read"),
                writers=writers,
                turns=turns,
                wake=waker().wake,
                handoff=handoff,
                garden=garden,
            )
            for leases in fetching_leases
        ]
        comparison = ComparisonHandler(
            **items, leases=comparison_leases, decoder=decoder, pixel_similarities=quick_pixel_similarities
        )
        reindex = ReindexHandler(**items, blobs=blobs(), models=models, compare=compare_models)
        deletion = DeletionHandler(**steps, blobs=blobs())
        syncs = SyncHandler(**steps, wake=waker().wake)
        bulk = BulkHandler(**items, blobs=blobs(), wake=waker().wake)
        maps = MapHandler(**steps, project=project_apart)
        events = EventHandler(**items, owner=name)

        watchdog.watch("loading of a model", models.loading)
        watchdog.watch("embedding", embedding_leases.progress)
        watchdog.watch("embedding for searches", embedding.searching)
        watchdog.watch("comparing", comparison_leases.progress)
        for number, leases in enumerate(fetching_leases, 1):
            watchdog.watch(f"reading of imports ({number})", leases.progress)

        self._soon = ThreadPoolExecutor(1, thread_name_prefix="embed")
        served = [queue for queue in embedding.queues if queue in queues]
        self._embedding = OneAtATime(partial(embedding.run, served))
        reindexing = OneAtATime(reindex.run)
        self._runs: dict[Queue, list[Callable[[], object]]] = defaultdict(list)  # what serves each queue, in turn
        # A reindex lists its images, has them embedded, and goes on to what follows.
        self._add(reindex.queues, reindexing.run)
        self._add(embedding.queues, self._embedding.run)
        self._add(reindex.queues, reindexing.run)
        others: list[Any] = [*fetching, comparison, deletion, syncs, bulk, maps, events]
        for handler in others:
            self._add(handler.queues, OneAtATime(handler.run).run)
        self._add([Queue.QUERY], embedding.answer_queries)
        self._add([Queue.INDEX], partial(build_index, transaction, settings))
        self._add([Queue.INDEX], OneAtATime(partial(update_collection_indexes, transaction, settings)).run)
        self._add([Queue.DELETE], OneAtATime(partial(maintenance.clean_up, transaction, blobs(), settings)).run)
        self._add([Queue.MAINTENANCE], partial(maintenance.sweep, transaction, waker(), settings))
        settling = SettlingHandler(**steps)
        self._add(settling.queues, OneAtATime(settling.run).run)

    def work(self, queue: Queue) -> None:
        """Do all that waits in `queue`; returns at once where another thread is at it, which then looks once more.

        Raises NotReady, TransientError.
        """
        for run in self._runs[queue]:
            run()

    def renew_leases(self) -> None:
        """Prolong the leases of all handlers that get on. Raises NotReady, TransientError."""
        for leases in self._leases:
            leases.renew()

    def wait_for_embedding(self) -> None:
        """Until no batch is being embedded."""
        self._embedding.wait()

    def _embed_soon(self) -> None:
        """In a thread of its own, unless it is done already."""
        self._soon.submit(try_to_work, Queue.BULK, self._embedding.run)

    def _add(self, queues: Sequence[Queue], run: Callable[[], object]) -> None:
        for queue in queues:
            self._runs[queue].append(run)
