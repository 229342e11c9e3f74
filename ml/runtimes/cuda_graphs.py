"""CUDA graphs: a forward's hundreds of kernels, started as one. Without them a small batch waits for the launches.

A graph has fixed shapes, so there is one for each of a few batch sizes, recorded when it is first needed; a batch is
padded to the next of them.
"""

import threading
from collections.abc import Callable

import torch
from torch import Tensor

from ml.runtimes.forward import Batch, bucket
from umbel.base.types import Vectors

WARM_UPS = 3  # before a recording: cuDNN picks its kernels, the allocator its blocks

Network = Callable[[Tensor], Tensor]


class CudaGraphs:
    """(n, size, size, 3) uint8 → (n, dim) float32 on one CUDA device, one call at a time; threads wait in line."""

    def __init__(self, network: Network, device: torch.device) -> None:
        """network: on the device, of a uint8 batch there."""
        self._network = network
        self._device = device
        self._recorded: dict[tuple[int, ...], _Graph] = {}
        self._one_at_a_time = threading.Lock()  # a graph has one place for its input, and one for its output

    def __call__(self, batch: Batch) -> Vectors:
        shape = (bucket(len(batch)), *batch.shape[1:])
        with self._one_at_a_time, torch.inference_mode(), torch.cuda.device(self._device):
            if shape not in self._recorded:
                self._recorded[shape] = _Graph(self._network, shape, self._device)
            return self._recorded[shape](batch)


class _Graph:
    def __init__(self, network: Network, shape: tuple[int, ...], device: torch.device) -> None:
        self._staged = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        self._pictures = torch.zeros(shape, dtype=torch.uint8, device=device)
        beside = torch.cuda.Stream(device)
        beside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(beside):
            for _ in range(WARM_UPS):
                network(self._pictures)
        torch.cuda.current_stream(device).wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._vectors = network(self._pictures)

    def __call__(self, batch: Batch) -> Vectors:
        count = len(batch)
        self._staged[:count].copy_(torch.from_numpy(batch))
        self._pictures[:count].copy_(self._staged[:count], non_blocking=True)
        self._graph.replay()
        return self._vectors[:count].cpu().numpy()
