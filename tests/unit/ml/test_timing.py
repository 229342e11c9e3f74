"""Which work is found to be the fastest, on a machine whose clocks the tests turn."""

from collections.abc import Callable

import pytest

from ml.runtimes.timing import LEAST_RUNS, Moment, Rate, Work, is_calm, rates

THREADS, THINGS = 2, 32


class Machine:
    """Two cores. A work computes for so long on both of them, and its threads wait for cores as each test says."""

    def __init__(self) -> None:
        self.moment = Moment(0, 0, 0)
        self.order: list[float] = []

    def now(self) -> Moment:
        return self.moment

    def work(self, seconds: float, waits: Callable[[int], float] = lambda run: 0, *, apart: bool = True) -> Work:
        """seconds: by the clock, undisturbed; waits: how long each thread waits in a work's run of this number."""
        runs = 0

        def run() -> int:
            nonlocal runs
            waiting = waits(runs)
            runs += 1
            wall, cpu, waited = self.moment
            self.moment = Moment(wall + seconds + waiting, cpu + seconds * THREADS, waited + waiting * THREADS)
            self.order.append(seconds)
            return THINGS

        return Work(run, THREADS, apart=apart)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_the_figures_are_those_of_an_idle_machine_where_others_compute(machine):
    found = rates({"disturbed": machine.work(0.1, lambda run: 1.0), "not": machine.work(0.12)}, 5, machine.now)

    assert found["disturbed"].per_second == pytest.approx(THINGS / 0.1)
    assert found["not"].per_second == pytest.approx(THINGS / 0.12)
    assert (found["disturbed"].calm, found["not"].calm) == (False, True)
    assert not is_calm(found)


def test_one_calm_run_is_enough(machine):
    found = rates({"work": machine.work(0.1, lambda run: 0.5 * (run != 3))}, 3, machine.now)

    assert is_calm(found)


def test_threads_that_wait_for_each_other_count_by_the_clock(machine):
    found = rates({"team": machine.work(0.1, lambda run: 0.3, apart=False)}, 1, machine.now)

    assert found["team"].per_second == pytest.approx(THINGS / 0.4)


def test_the_best_run_counts(machine):
    found = rates({"team": machine.work(0.1, lambda run: 0.3 * (run != 2), apart=False)}, 2, machine.now)

    assert found["team"].per_second == pytest.approx(THINGS / 0.1)


def test_works_take_turns_each_for_its_time(machine):
    rates({"one": machine.work(0.1), "other": machine.work(0.11)}, 0.5, machine.now)

    assert machine.order[:4] == [0.1, 0.11, 0.11, 0.1]
    assert (machine.order.count(0.1), machine.order.count(0.11)) == (5, 5)


def test_a_hopeless_work_is_not_timed_any_longer(machine):
    found = rates({"fast": machine.work(0.1), "slow": machine.work(0.2)}, 1, machine.now)

    assert (found["fast"].runs, found["slow"].runs) == (10, LEAST_RUNS)


def test_what_is_hopeless_need_not_be_calm():
    assert is_calm({"fast": Rate(per_second=100, calm=True), "slow": Rate(per_second=50)})
    assert not is_calm({"fast": Rate(per_second=100, calm=True), "near": Rate(per_second=90)})
