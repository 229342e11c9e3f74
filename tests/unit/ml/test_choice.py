"""Which setup is chosen by figures, for how long these are believed, and that they are measured once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml.card import ModelCard, Provenance
from ml.checkpoint import save_checkpoint
from ml.preprocess import Preprocessing
from ml.runtimes import choice
from ml.runtimes.choice import best_of, list_measurements, measured, ranked
from ml.runtimes.measuring import Task, Timing, Timings
from ml.runtimes.setups import Setup, fallbacks, setups
from umbel.base.settings import Settings

EXACT, QUICK, TORCH = (
    Setup(runtime=runtime, precision=precision, lanes=2, threads=2)
    for runtime, precision in (("openvino", "fp32"), ("openvino", "bf16"), ("torch", "fp32"))
)


def timing(setup: Setup, per_second: float | None) -> Timing:
    return Timing(setup=setup, per_second=per_second, parity=-1 if per_second is None else 1)


class Clockwork:
    """Stands for the process that times setups: what it finds next, and how often it was asked."""

    def __init__(self, *found: Timings | RuntimeError) -> None:
        self.found, self.asked = [*found], 0

    def __call__(self, task: Task) -> Timings:
        self.asked += 1
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if isinstance(found, RuntimeError):
            raise found
        return found


def figures(exact: float | None, quick: float | None, torch: float | None = 10, *, calm: bool = True) -> Timings:
    return Timings(timings=[timing(EXACT, exact), timing(QUICK, quick), timing(TORCH, torch)], calm=calm)


@pytest.fixture(scope="module")
def model(network, tmp_path_factory) -> tuple[Path, ModelCard]:
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    provenance = Provenance(data=[], start="random", created_at="2026-01-01T00:00:00Z")
    return path, save_checkpoint(
        path, network, name="small", preprocessing=Preprocessing(size=64), provenance=provenance
    )


@pytest.fixture
def ask(model, tmp_path, monkeypatch):
    """Ask which setup is chosen, of the three above unless told otherwise, by figures that are `found`."""

    def ask(found: Clockwork, **changed: object) -> Setup | None:
        monkeypatch.setattr(choice, "time_elsewhere", found)
        path, card = model
        asked = {"checkpoint": path, "conversion": None, "setups": [EXACT, QUICK, TORCH], "batch_size": 0, "seconds": 1}
        known = measured(Task.model_validate(asked | changed), card, tmp_path / "home")
        return known and known.timings[0].setup

    return ask


@pytest.mark.parametrize(
    ("exact", "quick", "torch", "chosen"),
    [
        (200, 128, 100, EXACT),  # a CPU that has bf16 need not be faster with it
        (230, 540, 136, QUICK),
        (90, None, 300, TORCH),
        (100, 102, 99, EXACT),  # as fast, and more exact
    ],
)
def test_the_fastest_that_passes_is_chosen(ask, exact, quick, torch, chosen):
    assert ask(Clockwork(figures(exact, quick, torch))) == chosen


def test_the_others_follow_by_speed_and_what_failed_comes_last():
    assert [one.setup for one in ranked([timing(EXACT, None), timing(QUICK, 2), timing(TORCH, 3)])] == [
        TORCH, QUICK, EXACT,
    ]  # fmt: skip


def test_figures_are_kept_for_the_same_question_alone(ask, monkeypatch):
    found = Clockwork(figures(200, 100), figures(100, 200))

    assert [ask(found), ask(found)] == [EXACT, EXACT]
    assert ask(found, batch_size=8) == QUICK
    assert ask(found, setups=[QUICK, EXACT, TORCH]) == QUICK
    monkeypatch.setattr(choice, "this_machine", lambda: {"cpu": "another", "kind": "1", "cores": 64})
    assert ask(found) == QUICK
    assert found.asked == 4


def test_a_busy_machine_is_measured_again_and_the_best_of_each_counts(ask, monkeypatch):
    found = Clockwork(figures(200, 90, calm=False), figures(110, 210, calm=False), figures(100, 120))

    assert [ask(found), ask(found)] == [EXACT, EXACT]
    monkeypatch.setattr(choice, "RETRY_SECONDS", 0)
    assert ask(found) == QUICK  # 210 to 200
    assert ask(found) == QUICK  # 120 to 100, which alone count, since the machine was calm
    assert ask(found) == QUICK
    assert found.asked == 3


def test_the_better_figure_counts_unless_the_setup_fails_now():
    better = best_of([timing(EXACT, 5), timing(QUICK, 5)], [timing(EXACT, 4), timing(QUICK, None), timing(TORCH, 3)])

    assert [one.per_second for one in better] == [5, None, 3]


def test_processes_that_start_together_measure_once(ask):
    class Slow(Clockwork):
        """Is not ready before all have asked."""

        def __call__(self, task: Task) -> Timings:
            started.wait()
            return super().__call__(task)

    started, found = threading.Event(), Slow(figures(100, 200))
    with ThreadPoolExecutor(4) as together:
        asking = [together.submit(ask, found) for _ in range(4)]
        started.set()

    assert {one.result() for one in asking} == {QUICK}
    assert found.asked == 1


def test_a_damaged_file_is_measured_anew(ask, tmp_path):
    found = Clockwork(figures(100, 200))
    ask(found)
    [kept] = (tmp_path / "home" / "models" / "runtimes").iterdir()
    kept.write_text("{}")

    assert ask(found) == QUICK
    assert found.asked == 2
    assert [one.model for one in list_measurements(tmp_path / "home")] == ["small"]


def test_a_home_that_cannot_be_written_to_costs_only_time(ask, tmp_path):
    (tmp_path / "home").write_text("not a folder")

    assert ask(Clockwork(figures(100, 200))) == QUICK


def test_what_cannot_be_timed_is_not_chosen_by_figures(ask, monkeypatch):
    fails = Clockwork(RuntimeError("no memory"))

    assert ask(fails) is None
    assert ask(fails, seconds=0) is None
    assert ask(fails, setups=[TORCH]) is None
    monkeypatch.setattr(choice, "memory", lambda: 2**20)
    assert ask(fails) is None
    assert fails.asked == 1


def test_figures_of_a_conversion_that_may_be_damaged_are_not_kept(ask):
    found = Clockwork(figures(None, None, 80), figures(100, 90, 80))

    assert [ask(found), ask(found), ask(found)] == [TORCH, EXACT, EXACT]
    assert found.asked == 2


def test_the_settings_narrow_the_setups():
    both = ["fp32", "bf16"]

    def of(**changed: object) -> list[tuple[object, ...]]:
        settings = Settings.model_validate({"model_threads": 4} | changed)
        return [tuple(one.model_dump().values()) for one in setups(settings, both, openvino=True)]

    assert of() == [
        ("openvino", "fp32", 4, 4), ("openvino", "bf16", 4, 4), ("torch", "fp32", 4, 4), ("torch", "bf16", 4, 4),
    ]  # fmt: skip
    assert of(runtime="openvino", precision="fp32") == [("openvino", "fp32", 4, 4)]
    assert of(precision="bf16") == [("openvino", "bf16", 4, 4), ("torch", "bf16", 4, 4)]
    assert [one.runtime for one in fallbacks(Settings(), openvino=True)] == ["openvino", "torch"]


def test_forwards_may_share_threads_where_their_number_is_free(monkeypatch):
    monkeypatch.setattr("ml.runtimes.setups.cores", lambda: 8)

    free = setups(Settings(runtime="openvino", precision="fp32"), ["fp32"], openvino=True)

    assert [(one.lanes, one.threads) for one in free] == [(8, 8), (4, 8)]
