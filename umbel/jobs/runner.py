"""The job runner: how every handler works off its queues.

An ItemHandler claims items, sends them in batches through the stages of its work, and stores what comes of them: done,
failed, or to be tried again (umbel/jobs/outcomes.py). A StepHandler reads from the remaining rows what is next. Killed
at any point, neither loses anything: what was claimed and not stored is claimed again after its lease; a step that was
not committed is taken again.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from umbel.base.database import Transaction
from umbel.base.errors import NotReady, TransientError
from umbel.base.locks import only_one
from umbel.base.progress import progress
from umbel.base.settings import Settings
from umbel.base.types import ItemState, Queue
from umbel.jobs import claims, items, job_log
from umbel.jobs.claims import Claimed
from umbel.jobs.leases import Leases
from umbel.jobs.outcomes import Outcomes, retry_transient
from umbel.jobs.positions import Positions

log = structlog.get_logger()

TURN_SECONDS = 10.0  # between two looks at items claimed before while an import keeps the handler busy


@dataclass(slots=True)
class Batch:
    """Items of one queue that were claimed together, on their way through a handler's stages.

    ready: those that got through and are to be done when stored; done: those that were stored so. postponed: what
    comes next would have to wait as these do, so nothing more is claimed for now.
    """

    queue: Queue
    items: Sequence[Claimed]
    outcomes: Outcomes
    ready: list[Any] = field(default_factory=list)
    done: Sequence[UUID] = ()
    postponed: bool = False


B = TypeVar("B", bound=Batch)
I = TypeVar("I", bound=Claimed)  # noqa: E741 - the item's type


@dataclass(kw_only=True, eq=False)
class ItemHandler(ABC, Generic[B]):
    """Works on the items of its queues, the first queue first. ended_as: what its done items are called in the log."""

    transaction: Transaction
    settings: Settings
    leases: Leases
    stopping: Callable[[], bool] = lambda: False
    _postponed: bool = field(default=False, init=False)  # a batch was, in this turn
    _turn_is_over: bool = field(default=False, init=False)  # though there may be more
    _batches: int = field(default=0, init=False)  # claimed in this run
    _positions: Positions = field(default_factory=Positions, init=False)

    queues: ClassVar[Sequence[Queue]]
    batch_type: ClassVar[Any]  # type[B]
    ended_as: ClassVar[str]

    def run(self, queues: Sequence[Queue] | None = None) -> int:
        """Work on what is queued until nothing is left. Returns how many items ended. queues: None for all of its."""
        queues = self.queues if queues is None else queues
        self._batches = 0
        finished, more = 0, True
        try:
            while more:
                turn, more = self.take_turn(queues)
                finished += turn
        finally:
            self.leases.let_go_of_all()  # of batches that an error has stopped on their way
            self.close()
        return finished

    def take_turn(self, queues: Sequence[Queue]) -> tuple[int, bool]:
        """Work for a while. Returns how many items ended, and whether there may be more to do."""
        self._postponed = self._turn_is_over = False
        ended = self._finish(self._fresh_batches(queues)) + self._run_again(queues)
        return ended, not self._postponed and (ended > 0 or self._turn_is_over)

    @abstractmethod
    def limit(self, batches: int) -> int:
        """How many items to claim next. batches: how many have been claimed in this run."""

    @abstractmethod
    def work(self, batches: Iterator[B]) -> Generator[B, None, None]:
        """Take batches through the stages of the work, each stage running ahead of the next."""

    def begin(self, session: Session, queue: Queue, claimed: list[Any]) -> B:
        """A batch of items that were just claimed in this transaction."""
        batch: B = self.batch_type(queue, claimed, Outcomes(queue, self.settings))
        return batch

    def claim_new(self, session: Session, queue: Queue, *, limit: int, **options: Any) -> list[Any]:
        """Items that were never claimed before; options: of `claims.claim_items`."""
        return claims.claim_items(session, queue, limit=limit, **options)

    def prepare(self) -> bool:
        """Done before each claim of new items. True if it got on, so that more may come though there is nothing now."""
        return False

    def source(self) -> UUID | None:
        """The job whose items are claimed next; None: any job's."""
        return None

    def store(self, batch: B) -> None:
        """Write down what came of a batch, and set its `done`."""
        retry_transient(lambda: self._store_at_once(batch))

    def store_results(self, session: Session, batch: B, done: set[UUID]) -> None:
        """Keep what the work made of those items that are done."""

    def close(self) -> None:
        """Let go of what was opened for this run."""

    def blame(self, batch: B, error: Exception) -> str | None:
        """What to say of an item that alone makes the work fail; None: the process is at fault, and no item."""
        return str(error)

    def bisect(self, batch: B, some: Sequence[I], work: Callable[[Sequence[I]], None]) -> None:
        """Do `work` on all at once; should that fail, on each half by itself, down to the one item that is to blame."""
        if not some:
            return
        try:
            work(some)
        except (NotReady, TransientError) as error:
            log.warning("a batch is put back", images=len(some), error=error.detail)
            batch.outcomes.release(item.id for item in some)
        except Exception as error:
            reason = self.blame(batch, error)
            if reason is None:
                batch.outcomes.release([item.id for item in some], delay_seconds=0)
                return
            log.warning("a batch failed", queue=batch.queue, images=len(some), error=str(error))
            if len(some) == 1:
                batch.outcomes.count_attempt(some[0], reason)
                return
            half = len(some) // 2
            self.bisect(batch, some[:half], work)
            self.bisect(batch, some[half:], work)

    def store_items(self, session: Session, batch: B) -> None:
        """Finish the items of a batch in this transaction, with what was made of them."""
        ready = [item.id for item in batch.ready]
        items.lock_items(session, [*ready, *batch.outcomes])
        # Items first: one that was cancelled, deleted or finished by another meanwhile brings nothing with it.
        done = set(items.finish_items(session, ready, ItemState.INDEXED))
        self.store_results(session, batch, done)
        batch.outcomes.store(session, self.leases.owner)
        batch.done = list(done)

    def _store_at_once(self, batch: B) -> None:
        with self.transaction() as session:
            self.store_items(session, batch)

    def _fresh_batches(self, queues: Sequence[Queue]) -> Iterator[B]:
        until = time.monotonic() + TURN_SECONDS
        while not (self.stopping() or self._postponed):
            if time.monotonic() > until:
                self._turn_is_over = True
                return
            prepared = self.prepare()
            if batch := self._claim(queues, self.claim_new, self.limit(self._batches)):
                self._batches += 1
                yield batch
            elif not prepared:
                return

    def _run_again(self, queues: Sequence[Queue]) -> int:
        """One batch after the other, so that a death among them has no neighbors."""
        finished = 0
        claim = partial(claims.claim_again, max_attempts=self.settings.max_attempts)
        while not (self.stopping() or self._postponed) and (batch := self._claim(queues, claim, self.limit(0))):
            finished += self._finish([batch])
        return finished

    def _claim(self, queues: Sequence[Queue], claim: Callable[..., list[Any]], limit: int) -> B | None:
        """A batch from the first queue that has anything."""
        owner, seconds = self.leases.owner, self.leases.seconds
        with self.transaction() as session:
            for queue in queues:
                claimed: list[Any] = []
                with job_log.stage("claim", queue, claimed):
                    claimed += claim(
                        session,
                        queue,
                        owner=owner,
                        limit=limit,
                        lease_seconds=seconds,
                        positions=self._positions,
                        job_id=self.source(),
                    )
                if claimed:
                    batch = self.begin(session, queue, claimed)
                    self.leases.hold(item.id for item in batch.items)
                    job_log.claimed(queue, batch.items)
                    return batch
        return None

    def _finish(self, batches: Iterable[B]) -> int:
        """Work on batches and store them. Returns how many items ended."""
        # Closed before the leases are let go, whatever is raised: no stage works on for what others may claim.
        with closing(self.work(iter(batches))) as worked:
            return sum(map(self._store, worked))

    def _store(self, batch: B) -> int:
        with job_log.stage("store", batch.queue, batch.items):
            self.store(batch)
        self.leases.let_go(item.id for item in batch.items)
        self._postponed = self._postponed or batch.postponed
        job_log.ended(self.ended_as, batch.queue, batch.items, batch.done, batch.outcomes.failed)
        return len(batch.done) + len(batch.outcomes.failed)


@dataclass(kw_only=True, eq=False)
class StepHandler(ABC):
    """Does what is left in its queues, a step at a time. alone: the lock by which one process is at it at a time."""

    transaction: Transaction
    stopping: Callable[[], bool] = lambda: False

    queues: ClassVar[Sequence[Queue]]
    alone: ClassVar[str | None] = None

    def run(self) -> None:
        """Take steps until nothing more can be done for now, or another process is at it."""
        with only_one(self.alone) if self.alone else nullcontext(True) as ours:
            while ours and not self.stopping() and retry_transient(self.step):
                progress.note()

    @abstractmethod
    def step(self) -> bool:
        """Do what comes next, in one transaction or such that it bears being done twice. False if there is nothing."""
