"""Which setup runs a model on this machine: the fastest, by timing each once and keeping the figures in UMBEL_HOME.

They are kept by all that they depend on: the machine, the model, the packages, the setups that the settings allow. One
process on a machine measures at a time, and those that wait for it take its result. Figures of a busy machine are used,
but a load that comes RETRY_SECONDS later, or more, measures again; until one finds the machine calm, each setup counts
by the best of all.
"""

import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from ml.card import ModelCard
from ml.runtimes.measuring import Task, Timing, time_elsewhere
from umbel.base.fingerprint import fingerprint
from umbel.base.locks import one_on_this_machine
from umbel.base.machine import core_share, cpu, cpu_identity, memory
from umbel.base.replacing import replacing

AS_FAST = 0.97  # of the fastest: timings of the same differ by as much, and the setup that is to be preferred wins
RETRY_SECONDS = 3600
COPIES = 4  # of the weights in float32, that each setup may take while it is timed beside the others

log = structlog.get_logger(__name__)


class Measurement(BaseModel):
    """The figures that a choice rests on. calm: whether the machine did little else meanwhile."""

    model_config = ConfigDict(extra="forbid")

    model: str
    weights_sha256: str
    preprocessing_hash: str
    machine: dict[str, Any]
    packages: dict[str, str]
    batch_size: int
    measured_at: datetime
    calm: bool
    timings: list[Timing]  # the chosen setup, the others by speed, those that failed their parity check

    @property
    def trusts_conversion(self) -> bool:
        """Whether OpenVINO gave torch's vectors in float32, or was not asked; else its copy may be damaged."""
        exact = [one for one in self.timings if (one.setup.runtime, one.setup.precision) == ("openvino", "fp32")]
        return all(one.per_second is not None for one in exact)

    @property
    def stale(self) -> bool:
        """Whether it is time to try again, since the machine was busy."""
        return not self.calm and (datetime.now(UTC) - self.measured_at).total_seconds() >= RETRY_SECONDS


def ranked(timings: list[Timing]) -> list[Timing]:
    """In the order of Measurement. timings: of setups that are as fast, the former is to be preferred."""
    passed = [one for one in timings if one.per_second is not None]
    fastest = sorted(passed, key=lambda one: -(one.per_second or 0))
    first = [one for one in passed if (one.per_second or 0) >= AS_FAST * (fastest[0].per_second or 0)][:1]
    return [*first, *(one for one in fastest if one not in first), *(one for one in timings if one not in passed)]


def best_of(former: list[Timing], latter: list[Timing]) -> list[Timing]:
    """The latter, each with the better of both figures: other programs only ever make a setup slower."""
    before = {one.setup: one.per_second or 0.0 for one in former}
    return [
        one.model_copy(update={"per_second": one.per_second and max(one.per_second, before.get(one.setup, 0.0))})
        for one in latter
    ]


def measured(task: Task, card: ModelCard, home: Path) -> Measurement | None:
    """How fast each setup of a task runs its model here: as kept in a home, else timed now and kept there.

    None: there is nothing to choose, or `seconds` of 0, too little memory or an error forbid timing.
    """
    if len(task.setups) < 2 or not task.seconds or not _fits(task):
        return None
    place = _place(task, card, home)
    kept = _read(place)
    if kept is None or kept.stale:
        with one_on_this_machine("measuring"):
            kept = _read(place)  # another process may have measured meanwhile
            if kept is None or kept.stale:
                kept = _measure(task, card, kept)
                if kept is not None and kept.trusts_conversion:
                    _keep(kept, place)
    return kept


def list_measurements(home: Path) -> list[Measurement]:
    """Those of this machine as it is now, the latest first, that are kept in a home."""
    machine, packages = this_machine(), installed()
    found = (_read(path) for path in (home / "models" / "runtimes").glob("*.json"))
    ours = [one for one in found if one and (one.machine, one.packages) == (machine, packages)]
    return sorted(ours, key=lambda one: one.measured_at, reverse=True)


def this_machine() -> dict[str, Any]:
    """What of the machine decides how fast a setup is."""
    kind = fingerprint(cpu_identity())[:16]
    return {"cpu": cpu("model name") or platform.processor(), "kind": kind, "cores": core_share()}


def installed() -> dict[str, str]:
    """The packages that decide it, with their versions."""
    return dict(_versions("openvino", "torch", "umbel"))


def _versions(*names: str) -> Iterator[tuple[str, str]]:
    for name in names:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _fits(task: Task) -> bool:
    """Whether a measurement takes at most half of the memory. Checkpoints have half precision."""
    return task.checkpoint.stat().st_size * 2 * COPIES * len(task.setups) <= memory() / 2


def _place(task: Task, card: ModelCard, home: Path) -> Path:
    depends_on = {
        "machine": this_machine(),
        "packages": installed(),
        **task.model_dump(mode="json", include={"setups", "batch_size"}),
    }
    name = f"{card.weights_sha256[:16]}-{card.preprocessing_hash[:16]}-{fingerprint(depends_on)[:16]}.json"
    return home / "models" / "runtimes" / name


def _read(place: Path) -> Measurement | None:
    try:
        return Measurement.model_validate_json(place.read_bytes())
    except (OSError, ValidationError):  # damaged, or of another version of Umbel: it is measured anew
        return None


def _keep(measurement: Measurement, place: Path) -> None:
    """A home that cannot be written to costs seconds at every start, and no more."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as partial:
            partial.write_text(measurement.model_dump_json(indent=2) + "\n")
    except OSError as error:
        log.warning("measurement_not_kept", path=str(place), error=str(error))


def _measure(task: Task, card: ModelCard, former: Measurement | None) -> Measurement | None:
    try:
        found = time_elsewhere(task)
    except RuntimeError as error:
        log.warning("measurement_failed", error=str(error).strip()[-300:])
        return former
    return Measurement(
        model=card.name,
        weights_sha256=card.weights_sha256,
        preprocessing_hash=card.preprocessing_hash,
        machine=this_machine(),
        packages=installed(),
        batch_size=task.batch_size,
        measured_at=datetime.now(UTC),
        calm=found.calm,
        timings=ranked(best_of(former.timings, found.timings) if former and not found.calm else found.timings),
    )
