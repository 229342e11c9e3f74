"""One run in several processes of this machine, on GPUs one each: the same batches, each process on its share of them.

The process that was started reads, judges and writes; the others are its helpers, and end with it.
Source: docs.pytorch.org, "DistributedDataParallel".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed
from torch.multiprocessing import spawn  # type: ignore[attr-defined]

from ml.training.group import ALONE, Group
from ml.training.start import placed, untrained
from umbel.base.errors import InvalidInput
from umbel.base.machine import cores

if TYPE_CHECKING:
    from ml.training.members import Setup
    from ml.training.progress import Progress

JUDGING = timedelta(hours=12)  # the helpers wait while the first process judges an epoch


def processes_for(device: torch.device, wanted: int | None, batch_size: int) -> int:
    """How many processes train: as many as are wanted, else one a GPU, if they can share a batch evenly.

    Raises InvalidInput where the wanted ones cannot.
    """
    gpus = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
    if wanted is None:
        return max(count for count in range(1, gpus + 1) if batch_size % count == 0)
    if batch_size % wanted:
        raise InvalidInput(f"{wanted} processes cannot share batches of {batch_size} evenly; change --batch-size.")
    if device.type == "cuda" and wanted > gpus:
        raise InvalidInput(f"{wanted} processes need as many GPUs; there are {gpus}.")
    return wanted


@contextmanager
def helped(processes: int, setup: "Setup", progress: "Progress", tensors: dict[str, Any]) -> Iterator[Group]:
    """The group of this process and its helpers, which train as `train_members` with the same arguments does."""
    if processes == 1:
        yield ALONE
        return
    with TemporaryDirectory(prefix="umbel-train-") as folder:
        shared = replace(setup, network=None)  # type: ignore[arg-type] # each helper makes its own
        torch.save((shared, progress, tensors), Path(folder) / "setup")
        helpers = spawn(_help, (processes, folder, setup.device.type), processes - 1, join=False)
        try:
            _meet(0, processes, folder, setup.device.type)
            yield Group(0, processes)
            while not helpers.join():  # returns when one has ended
                pass
        except RuntimeError:  # the others are waited for in vain
            helpers.join(timeout=5)  # raises what ended the one that failed
            raise
        finally:
            for helper in helpers.processes:
                helper.terminate()
                helper.join()
            if distributed.is_initialized():
                distributed.destroy_process_group()


def _meet(rank: int, size: int, folder: str, device: str) -> None:
    torch.set_num_threads(max(1, cores() // size))
    backend = "nccl" if device == "cuda" else "gloo"
    if device == "cuda":
        torch.cuda.set_device(rank)
    place = f"file://{folder}/meeting"
    distributed.init_process_group(backend, init_method=place, rank=rank, world_size=size, timeout=JUDGING)


def _help(number: int, size: int, folder: str, kind: str) -> None:
    """What a helper process does. number: among the helpers, from 0; kind: of device."""
    from ml.training.members import train_members  # noqa: PLC0415 - which knows this module's group

    rank = number + 1
    setup, progress, tensors = torch.load(Path(folder) / "setup", weights_only=False, map_location="cpu")
    _meet(rank, size, folder, kind)
    device = torch.device(kind, rank) if kind == "cuda" else torch.device(kind)
    network = placed(untrained(setup.recipe), device)
    train_members(replace(setup, network=network), progress, tensors, group=Group(rank, size))
    distributed.destroy_process_group()
