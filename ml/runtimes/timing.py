"""Which of several works is the fastest on a machine that does other things meanwhile.

The works take turns, so that a busy moment meets all of them, and each counts by its best run. Threads that work apart
count with the time that they would have taken had they never waited for a core (docs/adr/0019). Threads that wait for
one another count by the clock, since a worker's cores are never its own: with others on them the one that gets no core
holds up the rest.
"""

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from umbel.base.machine import waited_seconds

HOPELESS = 1.5  # times slower than the fastest: not timed any further
LEAST_RUNS = 3
CALM = 0.1  # of a run's time, at most, that its threads waited for cores

Name = TypeVar("Name", bound=Hashable)


class Moment(NamedTuple):
    """Seconds of the clock; of computing by all threads of this process; and for which these waited for cores."""

    wall: float
    cpu: float
    waited: float


def this_moment() -> Moment:
    return Moment(time.perf_counter(), time.process_time(), waited_seconds())


@dataclass(frozen=True)
class Work:
    """run: returns how many things it has done; threads: that it keeps busy; apart: none of them waits for another."""

    run: Callable[[], int]
    threads: int
    apart: bool = True


@dataclass
class Rate:
    """How fast a work is. per_second: by its best run; calm: whether one run was undisturbed; spent: seconds."""

    per_second: float = 0.0
    calm: bool = False
    spent: float = 0.0
    runs: int = 0


def rates(works: Mapping[Name, Work], seconds: float, now: Callable[[], Moment] = this_moment) -> dict[Name, Rate]:
    """How fast each work is. seconds: for each of them, about; a slow one gets less."""
    found = {name: Rate() for name in works}
    racing = list(works)
    while racing:
        for name in racing:
            _run(works[name], found[name], now)
        best = max(rate.per_second for rate in found.values())
        racing = [name for name in reversed(racing) if _goes_on(found[name], best, seconds)]
    return found


def is_calm(found: Mapping[Name, Rate]) -> bool:
    """Whether the fastest and all that might be faster than it had an undisturbed run."""
    best = max((rate.per_second for rate in found.values()), default=0)
    return all(rate.calm for rate in found.values() if rate.per_second * HOPELESS >= best)


def _run(work: Work, rate: Rate, now: Callable[[], Moment]) -> None:
    began = now()
    done = work.run()
    wall, cpu, waited = (after - before for before, after in zip(began, now(), strict=True))
    rate.spent += wall
    rate.runs += 1
    rate.calm |= waited <= CALM * wall * work.threads
    # Undisturbed it takes no less than its computing, nor than what is left of the time if they waited in turn.
    took = max(cpu / work.threads, wall - waited) if work.apart else wall
    rate.per_second = max(rate.per_second, done / max(took, 1e-9))


def _goes_on(rate: Rate, best: float, seconds: float) -> bool:
    hopeless = rate.runs >= LEAST_RUNS and rate.per_second * HOPELESS < best
    return rate.spent < seconds and not hopeless
