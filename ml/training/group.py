"""The processes of a run: which share of each batch is this one's, and how they agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Group:
    """`size` processes that learn together, this one the `rank`-th. Only the first judges, tells and writes."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, batch: Sequence[T]) -> Sequence[T]:
        """What this process does of a batch; all shares of a batch that `size` divides are as long."""
        return batch[self.rank :: self.size]

    def together(self, step: nn.Module, device: torch.device, *, unused: bool) -> Any:
        """The module with gradients that are the mean over all processes; unused: some parameters may get none."""
        if self.size == 1:
            return step
        ids = [torch.cuda.current_device()] if device.type == "cuda" else None
        return DistributedDataParallel(step, device_ids=ids, broadcast_buffers=False, find_unused_parameters=unused)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values / self.size

    def told(self, value: T | None) -> T:
        """The first process's value, in all of them."""
        box = [value]
        if self.size > 1:
            distributed.broadcast_object_list(box)
        assert box[0] is not None
        return box[0]


ALONE = Group()
