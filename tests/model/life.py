"""A life: a stack of its own, a run over it, and what must be true in the end."""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.judgement import reconciled
from tests.faults.target import Target
from tests.model.mismatch import Mismatch, expect
from tests.model.models import Recomputed, small_model
from tests.model.operations import gallery, insights, jobs, models
from tests.model.operations.weights import drawn
from tests.model.run import Run

LEAST_RECALL = 0.97  # of the matches of all searches through an index
FEW = 3  # more that may be missing: a short life has so few matches that one is several percent


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed. failure: what the service answered otherwise than the model; tail: what led to it."""

    seed: int
    operations: dict[str, int]
    seconds: float
    images: int
    jobs: int
    requests: int
    sent_again: int
    failure: str | None = None
    tail: list[str] = field(default_factory=list)


def live(target: Target, seed: int, operations: int, *, tell: Callable[[str], None] = lambda line: None) -> Outcome:
    """A run of that many operations on a stack that is not up yet; it is left up."""
    began = time.monotonic()
    run = begin(target, seed, tell=tell)
    failure, tail = None, []
    try:
        run.go(operations, drawn)
        end(run)
    except Mismatch as mismatch:
        failure, tail = str(mismatch), run.tail(mismatch)
    except Exception as error:
        failure, tail = f"{type(error).__name__}: {error}", run.said[-20:]
        tell(failure)
        raise
    finally:
        run.server.close()
    return Outcome(
        seed, dict(run.made), round(time.monotonic() - began, 1), len(run.world.images), len(run.world.jobs),
        run.server.sent, run.server.again, failure, tail,
    )  # fmt: skip


def begin(target: Target, seed: int, *, tell: Callable[[str], None] = lambda line: None) -> Run:
    """Start the stack, with three small models, of which one has no calibration."""
    folder = target.home / "models"
    checkpoints = {
        name: small_model(folder / f"{name}.safetensors", first, dim, calibrated=name != "silent")
        for name, first, dim in (("first", 0, 64), ("second", 100, 48), ("silent", 200, 64))
    }
    sources = target.home / "sources"
    sources.mkdir(exist_ok=True)
    target.environment |= {
        "UMBEL_CHECKPOINT": str(checkpoints["first"]), "UMBEL_IMPORT_ROOTS": str(sources), "UMBEL_RUNTIME": "torch",
        "OMP_NUM_THREADS": "1",  # a team of threads that share cores with other processes waits for each other
        "UMBEL_MEASURE_SECONDS": "0",  # one runtime, and models so small that none is worth timing
    }  # fmt: skip
    began = time.monotonic()
    target.up()
    tell(f"the stack is up after {time.monotonic() - began:.0f} s")
    run = Run(target, seed, tell=tell)
    run.checkpoints = checkpoints
    for name, path in checkpoints.items():
        version = models.register(run, path, calibrated=name != "silent")
        run.vectors.recomputed[version.id] = Recomputed(path)
    run.world.active = next(version for version in run.world.versions.values() if version.name == "first")
    expect("the state of the first model", run.world.active.state, "active")
    if seed % 2 == 0:  # every other life searches through its index, as large galleries do
        run.scanned = 150
        scan_up_to(target, run.scanned)
    return run


def scan_up_to(target: Target, candidates: int) -> None:
    """Let searches look at each candidate up to so many only."""
    with target.ledger() as connection:
        connection.read_only = False
        kind = "RETURNS integer LANGUAGE sql STABLE PARALLEL SAFE"
        connection.execute(f"CREATE OR REPLACE FUNCTION public.exact_up_to() {kind} AS 'SELECT {candidates}'")


def end(run: Run) -> None:
    """All that is under way comes to its end, and is compared once more. Raises Mismatch."""
    rng = random.Random(run.seed)
    models.end_reindex(run)
    for job in run.world.unfinished():
        if not job.closed and not job.gone:
            run.server.post(f"/v1/jobs/{job.id}/close")
            job.closed = True
    run.settle()
    run.learn()
    expect("the images that are still pending", [image.id for image in run.world.pending()], [])
    gallery.listed(run, None, None, 500, most=10**6)
    gallery.list_collections(run, rng)
    models.look_at_models(run, rng)
    jobs.list_jobs(run, rng)
    insights.find_duplicates(run, rng)
    if run.missed > FEW + (1 - LEAST_RECALL) * run.searched:
        raise Mismatch(f"of {run.searched} matches through the index {run.missed} were missing")
    expect("what umbel reconcile finds", reconciled(run.target), [])
    broken = [line for line in log_of(run.target, "api").splitlines() if "unexpected error" in line]
    expect("unexpected errors in the log", broken[:3], [])


def log_of(target: Target, part: str) -> str:
    return Path(target.settings.home, "logs", f"{part}.log").read_text(errors="replace")


def as_json(outcome: Outcome) -> str:
    return json.dumps({name: getattr(outcome, name) for name in ("seed", "seconds", "operations", "failure")})
