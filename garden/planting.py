"""The sample garden picture by picture, and drawn into a folder: one sub-folder a species, named after it."""

import io
import json
import math
import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path

from garden.scene import draw_specimen
from garden.species import species_of
from umbel.base.errors import InvalidInput, UmbelError

# Raised whenever the same numbers give other pictures than before, so that old gardens are drawn anew.
VERSION = 3
MANIFEST = "garden.json"
# A process of its own pays from about this many pictures: starting one takes as long as drawing ten.
IMAGES_PER_PROCESS = 40


@dataclass(frozen=True)
class Plan:
    """What to draw: `species` kinds of flower, `per_species` pictures of each, size × size pixels."""

    species: int = 12
    per_species: int = 20
    seed: int = 7
    size: int = 320

    def __post_init__(self) -> None:
        for name, low, high in (
            ("species", 1, 1_000_000), ("per_species", 1, 1_000_000), ("seed", 0, 2**63), ("size", 32, 2048),
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise InvalidInput(f"{name} must be a whole number from {low} to {high}, not {value!r}")

    def __len__(self) -> int:
        """How many pictures it has."""
        return self.species * self.per_species

    def specimens(self) -> Iterator[tuple[int, int]]:
        """(species, specimen) of every picture, from 0, one species after the other."""
        return product(range(self.species), range(self.per_species))

    def names(self) -> list[str]:
        """Names of its species, which are its labels and folders."""
        return [species_of(self.seed, index).name for index in range(self.species)]

    def manifest(self, *, complete: bool) -> dict[str, object]:
        """What garden.json says of it."""
        return {"version": VERSION, **asdict(self), "complete": complete, "names": self.names()}


class SampleGarden:
    """The pictures of a plan as JPEGs, with the same bytes as in a folder. Any thread may use it."""

    def __init__(self, plan: Plan | None = None) -> None:
        self._plan = plan or Plan()

    def name(self, species: int) -> str:
        return species_of(self._plan.seed, species).name

    def draw(self, species: int, specimen: int, size: int | None = None) -> bytes:
        """A JPEG; size: its side in pixels, unset that of the plan."""
        drawn = io.BytesIO()
        draw_specimen(self._plan.seed, species, specimen, size=size or self._plan.size).save(drawn, "JPEG", quality=90)
        return drawn.getvalue()


def image_path(seed: int, species: int, specimen: int) -> Path:
    """Where a picture lies in its garden, such as moonstar/moonstar-0001.jpg; specimens are counted from 0."""
    name = species_of(seed, species).name
    return Path(name, f"{name}-{specimen + 1:04d}.jpg")


def is_drawn(directory: Path, plan: Plan) -> bool:
    """Whether `directory` already holds exactly this garden, complete and drawn by this version."""
    return _read_manifest(directory) == plan.manifest(complete=True) and all(
        (directory / image_path(plan.seed, *specimen)).is_file() for specimen in plan.specimens()
    )


def draw_garden(
    directory: Path,
    *,
    species: int = 12,
    per_species: int = 20,
    seed: int = 7,
    size: int = 320,
    processes: int | None = None,
) -> Iterator[Path]:
    """Draw a garden into `directory`, yielding each picture's path once it is there.

    Existing pictures of the same name are replaced, each at once; those left from an earlier garden (as its
    garden.json tells) are removed; anything else in the folder stays. The bytes depend on seed, species, specimen,
    size and Pillow's version alone. processes: None is one a core, fewer for few pictures; 1 draws in this process.
    With more, a script must guard its start with `if __name__ == "__main__"`. Raises InvalidInput at once for numbers
    out of range or a folder that cannot be written.
    """
    plan = Plan(species, per_species, seed, size)
    if processes is not None and processes < 1:
        raise InvalidInput(f"processes must be at least 1, not {processes}")
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _remove_earlier(directory, plan)
        _write_manifest(directory, plan, complete=False)
    except OSError as error:
        raise _unwritable(directory, error) from error
    return _drawn(directory, plan, processes or _default_processes(len(plan)))


def _drawn(directory: Path, plan: Plan, processes: int) -> Iterator[Path]:
    jobs = ((directory, plan, *specimen) for specimen in plan.specimens())
    try:
        yield from map(_draw, jobs) if processes == 1 else _draw_in_processes(jobs, processes)
        _write_manifest(directory, plan, complete=True)
    except OSError as error:
        raise _unwritable(directory, error) from error


def _draw_in_processes(jobs: Iterable[tuple[Path, Plan, int, int]], processes: int) -> Iterator[Path]:
    """The paths in order. The processes are spawned, so that threads of ours do no harm."""
    # Ctrl-C reaches every process of the terminal; only the first should answer it.
    ignored = (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=signal.signal, initargs=ignored)
    try:
        yield from pool.map(_draw, jobs, chunksize=8)
    except BrokenProcessPool as error:
        raise UmbelError("a drawing process ended unexpectedly; try again with --processes 1") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _draw(job: tuple[Path, Plan, int, int]) -> Path:
    directory, plan, species, specimen = job
    path = directory / image_path(plan.seed, species, specimen)
    path.parent.mkdir(exist_ok=True)
    _write(path, SampleGarden(plan).draw(species, specimen))
    return path


def _default_processes(images: int) -> int:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(usable, math.ceil(images / IMAGES_PER_PROCESS)), 1)


def _read_manifest(directory: Path) -> dict[str, object]:
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _write_manifest(directory: Path, plan: Plan, *, complete: bool) -> None:
    _write(directory / MANIFEST, (json.dumps(plan.manifest(complete=complete), indent=2) + "\n").encode())


def _remove_earlier(directory: Path, plan: Plan) -> None:
    """Remove the pictures of an earlier garden that this one will not replace, and nothing else.

    Their paths are derived from the earlier garden's numbers: a path read from a file is not to be trusted.
    """
    manifest = _read_manifest(directory)
    try:
        earlier = Plan(**{name: manifest[name] for name in asdict(plan)})  # type: ignore[arg-type]
    except (KeyError, InvalidInput):
        return
    for species, specimen in earlier.specimens():
        if earlier.seed != plan.seed or species >= plan.species or specimen >= plan.per_species:
            path = directory / image_path(earlier.seed, species, specimen)
            path.unlink(missing_ok=True)
            if specimen == earlier.per_species - 1 and path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def _unwritable(directory: Path, error: OSError) -> InvalidInput:
    return InvalidInput(f"cannot draw into {directory}: {error.strerror or error}")
