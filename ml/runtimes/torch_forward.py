"""The network on torch: eager on CPUs and Apple's GPUs, CUDA graphs on NVIDIA's."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.card import ModelCard
from ml.devices import has_native_bf16, pick_device
from ml.embedder import NetworkEmbedder
from ml.network import EmbeddingNetwork
from ml.preprocess import Preprocessing
from ml.runtimes.cuda_graphs import CudaGraphs
from ml.runtimes.forward import Batch
from ml.runtimes.parity import check_parity, probe_set
from umbel.base.machine import cores
from umbel.base.settings import Settings
from umbel.base.types import Pixels, Vectors

# Pictures in one forward. On a CPU more of them leave its caches: 16 gave 329 a second where 32 gave 283 (B0, bf16).
CPU_BATCH, GPU_BATCH = 16, 128


class ServedNetwork(nn.Module):
    """(n, size, size, 3) uint8 RGB → (n, dim) of unit length.

    Images travel as bytes, a quarter of what floats take, and are standardized where the network runs. The network is
    put into eval mode and its batch norms are folded where that is exact.
    """

    def __init__(self, network: EmbeddingNetwork, preprocessing: Preprocessing) -> None:
        super().__init__()
        network.eval().requires_grad_(False).fold_batch_norm()
        self.network = network
        self.flip_average = preprocessing.flip_average
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", mean / std)

    def forward(self, batch: Tensor) -> Tensor:
        # NHWC in memory is what torch calls channels_last once it is permuted.
        pictures = (batch.float() * self.scale - self.shift).permute(0, 3, 1, 2)
        vectors: Tensor = self.network(pictures)
        if self.flip_average:
            vectors = F.normalize(vectors + self.network(pictures.flip(-1)))
        return vectors.float()


class TorchForward:
    """ml.runtimes.forward.Forward on torch."""

    runtime = "torch"

    def __init__(self, network: ServedNetwork, device: torch.device, precision: str, lanes: int) -> None:
        """precision: fp32 or bf16; lanes: forwards side by side, on CPUs only."""
        self.precision = precision
        self.lanes = lanes if device.type == "cpu" else 1
        self.batch = CPU_BATCH if device.type == "cpu" else GPU_BATCH
        self._device = device
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._graphs = CudaGraphs(self._eager, device) if device.type == "cuda" else None

    @property
    def device(self) -> str:
        """As torch spells it."""
        return str(self._device)

    def begin_thread(self, *, alone: bool = False) -> None:
        """One thread a forward, or with `alone` as many as there are lanes: see ml.embedder."""
        if self._device.type == "cpu":
            torch.set_num_threads(self.lanes if alone else 1)

    def __call__(self, batch: Batch, *, background: bool = False, alone: bool = False) -> Vectors:
        """(n, size, size, 3) → (n, dim) float32. background and alone: the calling thread was begun for them."""
        if self._graphs is not None:
            return self._graphs(batch)
        with torch.inference_mode():
            return self._eager(torch.from_numpy(batch).to(self._device)).cpu().numpy()

    def _eager(self, batch: torch.Tensor) -> torch.Tensor:
        with self._arithmetic():
            vectors: torch.Tensor = self._network(batch)
        return vectors

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self.precision == "bf16":
            return torch.autocast(self._device.type, torch.bfloat16)
        return nullcontext()


def torch_forward(network: ServedNetwork, size: int, settings: Settings) -> tuple[TorchForward, float]:
    """The network on the settings' device, and its parity with float32.

    bf16 only where it is fast, or asked for, and gives this checkpoint's embeddings. Raises InvalidInput when there is
    no such device.
    """
    device, lanes = pick_device(settings.device), settings.model_threads or cores()
    wanted = settings.precision
    if wanted == "bf16" or (wanted == "auto" and has_native_bf16(device)):
        probe = probe_set(size)
        reference = reference_vectors(network, probe)
        quick = TorchForward(network, device, "bf16", lanes)
        passed, parity = check_parity(quick, probe, reference)
        if passed:
            return quick, parity
    return TorchForward(network, device, "fp32", lanes), 1.0


def torch_embedder(network: EmbeddingNetwork, card: ModelCard, settings: Settings) -> NetworkEmbedder:
    """A network in this process on torch, put into eval mode. Raises InvalidInput as torch_forward does."""
    forward, parity = torch_forward(ServedNetwork(network, card.preprocessing), card.preprocessing.size, settings)
    return NetworkEmbedder(card, forward, settings, parity=parity)


@torch.inference_mode()
def reference_vectors(network: ServedNetwork, probe: Pixels) -> Vectors:
    """(n, size, size, 3) → (n, dim): the probe's vectors by torch in float32 on the CPU, every runtime's reference."""
    vectors: torch.Tensor = network.to("cpu")(torch.from_numpy(probe))
    return vectors.numpy()
