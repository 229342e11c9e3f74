"""Times setups of one model on this machine, as a worker would run them; a process of its own, since it needs torch.

Each is first checked for parity; one that fails is not timed.
"""

import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict

from ml.card import read_card
from ml.embedder import NetworkEmbedder
from ml.runtimes.conversion import read_conversion
from ml.runtimes.elsewhere import run_elsewhere
from ml.runtimes.forward import Forward
from ml.runtimes.openvino_forward import OpenVinoForward
from ml.runtimes.parity import check_parity, probe_set
from ml.runtimes.setups import Setup
from ml.runtimes.timing import Work, is_calm, rates
from umbel.base.settings import Settings
from umbel.base.types import Pixels, Vectors

RUN_SECONDS = 0.2  # of one run of a setup, about: long enough for the clock, short enough for several in a second
PATIENCE_SECONDS = 600  # ten are usual; minutes on a machine that is busy with other things

log = structlog.get_logger(__name__)


class Task(BaseModel):
    """What is to be timed. conversion: the network in OpenVINO's form; None: none is needed. seconds: for each."""

    checkpoint: Path
    conversion: Path | None
    setups: list[Setup]
    batch_size: int  # as UMBEL_BATCH_SIZE
    seconds: float


class Timing(BaseModel):
    """per_second: images, at its best; None: its vectors were not those of torch in float32, by `parity`."""

    model_config = ConfigDict(extra="forbid")

    setup: Setup
    per_second: float | None
    parity: float


class Timings(BaseModel):
    """calm: whether this machine did little else meanwhile."""

    timings: list[Timing]
    calm: bool


def time_elsewhere(task: Task) -> Timings:
    """Time setups in a process of its own. Raises RuntimeError where that fails."""
    said = run_elsewhere(__name__, task.model_dump_json(), seconds=PATIENCE_SECONDS)
    return Timings.model_validate_json(said.splitlines()[-1])


def time_setups(task: Task) -> Timings:
    """Time setups here. Raises what loading the checkpoint or its conversion raises."""
    loaded = LoadedTask(task)
    parities: dict[Setup, float] = {}
    works: dict[Setup, Work] = {}
    for setup in task.setups:
        try:
            forward = loaded.forward(setup)
            passed, parities[setup] = check_parity(forward, loaded.probe, loaded.reference)
            if passed:
                embed = _batch(loaded.embedder(forward), loaded.probe)
                works[setup] = Work(embed, setup.threads, apart=setup.lanes == setup.threads)
        except RuntimeError as error:  # it cannot be compiled for this CPU
            parities[setup] = -1.0
            log.warning("runtime_failed", **setup.model_dump(), error=str(error).strip()[-300:])
    found = rates(works, task.seconds)
    return Timings(
        timings=[
            Timing(
                setup=setup,
                per_second=round(found[setup].per_second, 2) if setup in found else None,
                parity=round(parities[setup], 6),
            )
            for setup in task.setups
        ],
        calm=is_calm(found),
    )


class LoadedTask:
    """The model of a task on the runtimes that its setups name."""

    def __init__(self, task: Task) -> None:
        self._settings = Settings(batch_size=task.batch_size, device="cpu")
        self._card = read_card(task.checkpoint)
        self._conversion = read_conversion(task.conversion) if task.conversion else None
        with_torch = self._conversion is None or any(setup.runtime == "torch" for setup in task.setups)
        self._torch = _TorchNetwork(task.checkpoint) if with_torch else None
        self.probe, self.reference = self._known()

    def forward(self, setup: Setup) -> Forward:
        """The model in one of the task's setups. Raises RuntimeError where it cannot be compiled for this CPU."""
        if setup.runtime == "openvino":
            assert self._conversion is not None
            return OpenVinoForward(self._conversion.model, setup.precision, setup.lanes, setup.threads)
        assert self._torch is not None
        return self._torch.forward(setup)

    def embedder(self, forward: Forward) -> NetworkEmbedder:
        """What a worker would hold, whatever its parity."""
        return NetworkEmbedder(self._card, forward, self._settings, parity=1.0)

    def _known(self) -> tuple[Pixels, Vectors]:
        if self._conversion is not None:
            return self._conversion.probe, self._conversion.reference
        assert self._torch is not None
        probe = probe_set(self._card.preprocessing.size)
        return probe, self._torch.reference(probe)


class _TorchNetwork:
    def __init__(self, checkpoint: Path) -> None:
        import torch  # noqa: PLC0415 - not needed for OpenVINO's setups alone

        from ml.checkpoint import load_checkpoint  # noqa: PLC0415
        from ml.runtimes.torch_forward import ServedNetwork  # noqa: PLC0415

        torch.set_num_threads(1)  # as in the lanes of a worker; a team of threads would wait for cores beside them
        network, card = load_checkpoint(checkpoint)
        self._served = ServedNetwork(network, card.preprocessing)

    def forward(self, setup: Setup) -> Forward:
        import torch  # noqa: PLC0415

        from ml.runtimes.torch_forward import TorchForward  # noqa: PLC0415

        return TorchForward(self._served, torch.device("cpu"), setup.precision, setup.lanes)

    def reference(self, probe: Pixels) -> Vectors:
        from ml.runtimes.torch_forward import reference_vectors  # noqa: PLC0415

        return reference_vectors(self._served, probe)


def _batch(embedder: NetworkEmbedder, probe: Pixels) -> Callable[[], int]:
    """Embeds a batch as a worker makes them, or fewer images of a network that takes long; returns how many.

    What a runtime prepares for batches of that length is prepared.
    """
    lanes = embedder.lanes
    few = [*islice(cycle(probe), lanes)]
    embedder.embed(few)
    began = time.perf_counter()
    embedder.embed(few)
    rounds = int(RUN_SECONDS / max(time.perf_counter() - began, 1e-9))
    pixels = [*islice(cycle(probe), min(max(rounds, 1) * lanes, embedder.batch_size))]

    def embed() -> int:
        embedder.embed(pixels)
        return len(pixels)

    embed()
    return embed


if __name__ == "__main__":
    print(time_setups(Task.model_validate_json(sys.argv[1])).model_dump_json())
