"""One seed: an import and many single uploads while faults strike, then peace, then judgement."""

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from tests.faults.clients import Clients, Receipts, Stopped
from tests.faults.images import image_bytes
from tests.faults.judgement import SEARCHES, hanging, misfound, reconciled
from tests.faults.oracle import abandoned_jobs, violations
from tests.faults.sampler import Sampler
from tests.faults.schedule import Kind, draw_schedule, nominal_seconds
from tests.faults.snapshot import read_snapshot
from tests.faults.storm import Storm
from tests.faults.target import Scene, Target
from tests.faults.told import Told
from tests.faults.traffic import IMPORTS, Heal, Probes, confirm_imports, draw_singles, promise, upload_singles
from tests.receiver import receiving

PEOPLE = 4
LOOK_SECONDS = 0.5
CALM = "no fault"  # what a probe takes while nothing is wrong, to compare the others with


@dataclass(frozen=True, slots=True)
class Plan:
    """What every seed of a run is given.

    patience: seconds in which everything must heal after the last fault; pace: stretches the time between faults;
    lasting: the seconds of kinds that are to last as long as that.
    """

    images: int = 2000
    faults: int = 16
    kinds: tuple[Kind, ...] = tuple(Kind)
    patience: float = 120
    way: str | None = None  # None: each seed draws its own
    pace: float = 1
    lasting: Mapping[Kind, float] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What became of a seed. taken: pictures accepted; drained: seconds from the last fault and the last
    upload (but the probes') until all was final."""

    seed: int
    way: str
    failures: list[str] = field(default_factory=list)
    taken: int = 0
    samples: int = 0
    abandoned: int = 0
    seconds: float = 0
    drained: float = 0
    heals: list[Heal] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    events: list[str] = field(default_factory=list)
    logs: str | None = None


class Trial:
    """One seed on a stack that is up. tell: called with a line when something happens."""

    def __init__(
        self, target: Target, seed: int, plan: Plan, *, stop: threading.Event, tell: Callable[[str], None]
    ) -> None:
        self.outcome = Outcome(seed, plan.way or random.Random(f"way {seed}").choice(list(IMPORTS)))
        self.collection = f"seed-{seed}-{int(time.time())}"
        self._target, self._seed, self._plan, self._stop, self._tell = target, seed, plan, stop, tell
        self._schedule = draw_schedule(seed, kinds=plan.kinds, faults=plan.faults, pace=plan.pace, lasting=plan.lasting)
        self._receipts = Receipts()
        self._began = time.monotonic()

    def run(self) -> Outcome:
        """Raises Stopped when the run is interrupted."""
        folder = self._target.home / self.collection
        folder.mkdir()
        for number in range(self._plan.images):
            (folder / f"{number:06}.jpg").write_bytes(image_bytes(self._seed, number))
        self._began = time.monotonic()
        clients = Clients(self._target.url, self._receipts, patience=self._plan.patience, stop=self._stop)
        try:
            with receiving() as [receiver], Sampler(self._target, self.collection) as sampler:
                told = Told(clients, receiver, self.collection)
                calm = self._weather(clients, folder)
                self.outcome.failures += self._wait_for_peace(calm, self._hanging)
                told.revive()
                self.outcome.failures += self._wait_for_peace(time.monotonic(), partial(self._seen, told.waiting))
                self.outcome.failures += told.missing(self._target)
                told.close()
                promise(clients, folder)
                self.outcome.failures += confirm_imports(clients, self.collection)
            self.outcome.samples = sampler.samples
            self.outcome.failures += [*sampler.complaints, *([] if sampler.samples else ["the ledger was never seen"])]
            self.outcome.failures += self._judge(clients)
        finally:
            clients.close()
            shutil.rmtree(folder, ignore_errors=True)
        self._sum_up()
        return self.outcome

    def _weather(self, clients: Clients, folder: Path) -> float:
        """The storm, with traffic in it. Returns once the probes are back: when storm and traffic were over."""
        scene = Scene(self._target, clients, self.collection, self._stop)
        probes = Probes(clients, seed=self._seed, collection=self.collection, patience=self._plan.patience)
        storm = Storm(scene, probes, self._note)
        seconds = max(1, nominal_seconds(self._schedule))
        plans = draw_singles(self._seed, images=self._plan.images, people=PEOPLE, seconds=seconds)
        with ThreadPoolExecutor(PEOPLE + 1, thread_name_prefix="client") as pool:
            sent: list[Future[Any]] = [
                pool.submit(IMPORTS[self.outcome.way], clients, folder, self.collection, seconds),
                *(
                    pool.submit(
                        upload_singles, clients, plan, seed=self._seed, person=person, collection=self.collection,
                        stop=self._stop,
                    )
                    for person, plan in enumerate(plans)
                ),
            ]  # fmt: skip
            probes.measure(CALM, time.monotonic())
            storm.run(self._schedule)
        calm = time.monotonic()
        probes.close()
        self.outcome.failures += storm.errors + _errors(sent)
        self.outcome.heals = probes.heals
        self.outcome.struck.update(storm.struck)
        self.outcome.skipped.update(storm.skipped)
        if self._stop.is_set():
            raise Stopped
        return calm

    def _wait_for_peace(self, calm: float, look: Callable[[], list[str]]) -> list[str]:
        """Wait until nothing is on its way any more. Returns what hangs when patience since `calm` is at its end."""
        while hangs := look():
            if time.monotonic() - calm > self._plan.patience:
                return [f"after {self._plan.patience:g} s still not final: {each}" for each in hangs]
            if self._stop.wait(LOOK_SECONDS):
                raise Stopped
        took = round(time.monotonic() - calm, 1)
        self.outcome.drained = self.outcome.drained or took
        self._note(f"all is final after {took} s")
        return []

    def _judge(self, clients: Clients) -> list[str]:
        with self._target.ledger() as connection:
            snapshot = read_snapshot(connection, self.collection, self._target.settings.home / "blobs")
        self.outcome.abandoned = len(abandoned_jobs(snapshot))
        indexed = {digest: image for digest, image in self._receipts.taken.items() if snapshot.embeddings[image]}
        probed = random.Random(self._seed).sample(sorted(indexed), min(SEARCHES, len(indexed)))
        blobs = {image.id: self._target.settings.home / "blobs" / image.blob_key for image in snapshot.images}
        pictures = {indexed[digest]: blobs[indexed[digest]].read_bytes() for digest in probed}
        return [
            *violations(snapshot, self._receipts.taken),
            *misfound(clients, pictures, self.collection),
            *reconciled(self._target),
        ]

    def _hanging(self) -> list[str]:
        return self._seen(lambda connection: hanging(connection, self.collection))

    def _seen(self, look: Callable[["psycopg.Connection[Any]"], list[str]]) -> list[str]:
        try:
            with self._target.ledger() as connection:
                return look(connection)
        except psycopg.Error as error:
            return [f"Postgres is away: {error}"]

    def _sum_up(self) -> None:
        outcome = self.outcome
        unhealed = [
            f"{heal.kind}: an upload after it was never indexed" for heal in outcome.heals if heal.seconds is None
        ]
        complaints = [f"{what} ({times} times)" for what, times in self._receipts.complaints.most_common(20)]
        outcome.failures += [*complaints, *unhealed]
        outcome.taken = len(self._receipts.taken)
        outcome.answers.update(self._receipts.answers)
        outcome.seconds = round(time.monotonic() - self._began, 1)

    def _note(self, event: str) -> None:
        self.outcome.events.append(f"{time.monotonic() - self._began:7.2f}  {event}")
        self._tell(event)


def _errors(sent: Sequence[Future[Any]]) -> list[str]:
    """What the clients could not get through, in spite of their patience."""
    found = [future.exception() for future in sent]
    return [f"a client gave up: {type(error).__name__}: {error}" for error in found if error]
