"""A seed is a storm that can be had again."""

from collections import Counter

from tests.faults.images import image_bytes
from tests.faults.schedule import Kind, draw_schedule, nominal_seconds
from tests.faults.strikes import STRIKES
from tests.faults.traffic import draw_singles


def test_the_same_seed_brings_the_same_storm() -> None:
    assert draw_schedule(3) == draw_schedule(3)
    assert draw_schedule(3) != draw_schedule(4)


def test_every_kind_comes_once_before_any_comes_again() -> None:
    storm = draw_schedule(5, faults=2 * len(Kind))
    assert Counter(fault.kind for fault in storm) == dict.fromkeys(Kind, 2)
    assert len({fault.kind for fault in storm[: len(Kind)]}) == len(Kind)


def test_only_the_kinds_asked_for() -> None:
    assert {fault.kind for fault in draw_schedule(1, kinds=[Kind.WORKER, Kind.REDIS_KILL])} == {
        Kind.WORKER,
        Kind.REDIS_KILL,
    }


def test_the_pace_stretches_time_and_nothing_else() -> None:
    slow, fast = draw_schedule(2), draw_schedule(2, pace=0.5)
    assert [fault.kind for fault in fast] == [fault.kind for fault in slow]
    assert abs(nominal_seconds(fast) - nominal_seconds(slow) / 2) < 0.1


def test_a_kind_lasts_as_long_as_it_is_told_to() -> None:
    storm, longer = (draw_schedule(2, faults=len(Kind), lasting=each) for each in ({}, {Kind.SNAPSHOT: 600}))
    assert [fault.seconds for fault in longer if fault.kind == Kind.SNAPSHOT] == [600]
    assert [fault for fault in longer if fault.kind != Kind.SNAPSHOT] == [
        fault for fault in storm if fault.kind != Kind.SNAPSHOT
    ]


def test_thirty_storms_have_each_kind_many_times() -> None:
    times = Counter(fault.kind for seed in range(1, 31) for fault in draw_schedule(seed))
    assert min(times[kind] for kind in Kind) >= 5


def test_every_kind_has_a_strike() -> None:
    assert set(STRIKES) == set(Kind)


def test_singles_are_new_ones_ones_of_the_import_and_repeated_ones() -> None:
    plans = draw_singles(1, images=400, people=4, seconds=60)
    numbers = [single.number for plan in plans for single in plan]
    assert plans == draw_singles(1, images=400, people=4, seconds=60)
    assert len(numbers) == 100
    assert sum(number < 400 for number in numbers) > 10
    assert len(numbers) > len(set(numbers))
    assert any(single.key for plan in plans for single in plan)
    assert all(20 < sum(single.pause for single in plan) < 180 for plan in plans)


def test_pictures_are_all_different_and_always_the_same() -> None:
    seen = {image_bytes(seed, number) for seed in (1, 2) for number in range(50)}
    assert len(seen) == 100
    assert image_bytes(1, 7) in seen
