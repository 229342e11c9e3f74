"""How fast is the network on this GPU, how near to the chip's limits, and can decoding keep up?

Run `python -m benchmarks.gpu [--folder JPEGS] [--checkpoint PATH] [--no-compile]`. Without a folder, flowers are drawn.
Pictures a second of the raw forward for each batch size and way to run it, from pixels in memory to vectors in memory;
the roof that memory bandwidth and arithmetic put over that, from counted bytes and operations, a measured copy and a
measured product; and files to vectors, decoded by a process a core, over the raw forward. No database is needed.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import write
from garden import draw_garden
from ml.checkpoint import load_checkpoint
from ml.devices import pick_device
from ml.embedder import NetworkEmbedder
from ml.runtimes.cuda_graphs import CudaGraphs, Network
from ml.runtimes.forward import Batch
from ml.runtimes.parity import probe_images
from ml.runtimes.torch_forward import ServedNetwork, reference_vectors, torch_embedder
from ml.shipped import find_checkpoint
from umbel.base.machine import cores
from umbel.base.pipeline import ahead
from umbel.base.settings import Settings

BATCHES = (1, 8, 32, 128, 256)
BLOCKS = 5
MOST = 4096  # JPEGs of a folder
BLOCK_SECONDS = 0.5
Run = Callable[[Batch], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="JPEGs to decode")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--no-compile", action="store_true", help="torch.compile needs a C compiler and minutes")
    given = parser.parse_args()
    settings = Settings(checkpoint=given.checkpoint, runtime="torch", log_level="WARNING")
    device = pick_device("cuda")
    network, card = load_checkpoint(find_checkpoint(settings))
    size = card.preprocessing.size
    served = ServedNetwork(network, card.preprocessing)
    probe = probe_images(size, 8)
    reference = reference_vectors(served, probe)
    served = served.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    ways = runs(served, device, compiled=not given.no_compile)
    speeds: dict[str, Any] = {}
    for name, run in ways.items():
        try:
            worst = float((run(probe) * reference).sum(1).min())
            speeds[name] = {"parity": round(worst, 5), "per_second": {b: per_second(run, size, b) for b in BATCHES}}
        except Exception as error:  # one way that this machine cannot go must not hide the others
            speeds[name] = {"failed": str(error).strip().splitlines()[-1][:300]}
        print(name, speeds[name], flush=True)
    best = max(
        (rate["median"], name, batch)
        for name, found in speeds.items()
        for batch, rate in found.get("per_second", {}).items()
    )
    roof = roofs(served, device, size, best[0])
    with jpegs(given.folder) as images:
        from_files = pipeline(images, torch_embedder(*load_checkpoint(find_checkpoint(settings)), settings), settings)
    write(
        "gpu",
        {
            "device": torch.cuda.get_device_name(device),
            "torch": torch.__version__,
            "model": card.name,
            "size": size,
            "raw_forward": speeds,
            "best": {"way": best[1], "batch": best[2], "per_second": best[0]},
            "roof": roof,
            "files_to_vectors": from_files,
        },
    )


def runs(served: ServedNetwork, device: torch.device, *, compiled: bool) -> dict[str, Run]:
    """Ways to run one network, each from a batch in memory to vectors in memory."""

    def half(batch: Tensor, network: Network = served) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            vectors: Tensor = network(batch)
        return vectors

    def eager(network: Callable[[Tensor], Tensor]) -> Run:
        def run(batch: Batch) -> np.ndarray:
            with torch.inference_mode():
                return network(torch.from_numpy(batch).to(device)).cpu().numpy()

        return run

    ways: dict[str, Run] = {
        "fp32": eager(served),
        "bf16_autocast": eager(half),
        "fp32_cuda_graphs": CudaGraphs(served, device),
        "bf16_cuda_graphs": CudaGraphs(half, device),
    }
    if compiled:
        fused: Network = torch.compile(served, dynamic=False)
        ways["bf16_compile"] = eager(lambda batch: half(batch, fused))
        ways["bf16_compile_cuda_graphs"] = CudaGraphs(lambda batch: half(batch, fused), device)
    return ways


def per_second(run: Run, size: int, batch: int) -> dict[str, float]:
    """Pictures a second: median and range of blocks of half a second each."""
    images = np.ascontiguousarray(np.resize(probe_images(size, 8), (batch, size, size, 3)))
    for _ in range(3):
        run(images)
    rates = []
    for _ in range(BLOCKS):
        done, began = 0, time.perf_counter()
        while (took := time.perf_counter() - began) < BLOCK_SECONDS:
            run(images)
            done += batch
        rates.append(done / took)
    return {"median": round(statistics.median(rates), 1), "min": round(min(rates), 1), "max": round(max(rates), 1)}


def roofs(served: ServedNetwork, device: torch.device, size: int, reached: float) -> dict[str, Any]:
    """What the chip allows: bytes that every layer must read and write, and operations, over measured speeds."""
    batch = 32
    moved, operations = traffic(served, device, size, batch)
    bandwidth, arithmetic = copy_speed(device), product_speed(device)
    memory_roof, compute_roof = bandwidth / (moved / batch), arithmetic / (operations / batch)
    return {
        "megabytes_a_image": round(moved / batch / 1e6, 2),
        "gigaflops_a_image": round(operations / batch / 1e9, 3),
        "copy_gigabytes_a_second": round(bandwidth / 1e9),
        "bf16_teraflops": round(arithmetic / 1e12),
        "images_a_second_by_bandwidth": round(memory_roof),
        "images_a_second_by_arithmetic": round(compute_roof),
        "reached_of_roof": round(reached / min(memory_roof, compute_roof), 3),
    }


def traffic(served: ServedNetwork, device: torch.device, size: int, batch: int) -> tuple[int, int]:
    """(bytes, operations) of one forward in bf16 with each convolution's norm and activation fused into it.

    Counted are the inputs, weights and outputs of convolutions and linear maps: what no fusion of neighbors saves.
    """
    moved = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        weights = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        moved += 2 * (inputs[0].numel() + output.numel() + weights)

    counted = [m for m in served.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [module.register_forward_hook(count) for module in counted]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        served(torch.zeros(batch, size, size, 3, dtype=torch.uint8, device=device))
    for hook in hooks:
        hook.remove()
    return moved, int(counter.get_total_flops())


def copy_speed(device: torch.device) -> float:
    """Bytes a second that a copy within the device's memory reads and writes."""
    source = torch.empty(2**30, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / on_device_seconds(lambda: target.copy_(source))


def product_speed(device: torch.device) -> float:
    """Operations a second of a large matrix product in bf16."""
    side = 8192
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    return 2 * side**3 / on_device_seconds(lambda: one @ one)


def on_device_seconds(work: Callable[[], object], times: int = 20) -> float:
    """Median seconds of one, by the device's own clock."""
    for _ in range(3):
        work()
    taken = []
    for _ in range(times):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        end.synchronize()
        taken.append(begin.elapsed_time(end) / 1000)
    return statistics.median(taken)


@contextmanager
def jpegs(folder: Path | None) -> Iterator[list[bytes]]:
    """The JPEGs of a folder as bytes, or drawn flowers."""
    with tempfile.TemporaryDirectory() as drawn:
        paths = (
            sorted(folder.rglob("*.jp*g"))[:MOST] if folder else draw_garden(Path(drawn), species=32, per_species=16)
        )
        yield [path.read_bytes() for path in paths]


def pipeline(images: list[bytes], embedder: NetworkEmbedder, settings: Settings) -> dict[str, Any]:
    """Files to vectors, decoding beside the forward, with a decoding process a core; and each of the two alone."""
    batch, chunk = embedder.batch_size, 16
    decode = partial(embedder.card.preprocessing.decode, limits=settings)
    # Not forked: this process has CUDA. Workers decode in children of their own kind (worker.decoders).
    with ProcessPoolExecutor(cores(), get_context("spawn")) as pool:

        def decoded() -> Iterator[list[Any]]:
            coming = pool.map(decode, images, chunksize=chunk)
            while share := list(islice(coming, batch)):
                yield share

        ready = [pixels for share in decoded() for pixels in share]
        works: dict[str, Callable[[], object]] = {
            "decode": lambda: [len(share) for share in decoded()],
            "forward": lambda: [embedder.embed(ready[at : at + batch]) for at in range(0, len(ready), batch)],
            "files_to_vectors": lambda: [embedder.embed(share) for share in ahead(decoded())],
        }
        works["forward"]()
        rates: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(BLOCKS):
            for name, work in works.items():
                began = time.perf_counter()
                work()
                rates[name].append(len(images) / (time.perf_counter() - began))
    middle = {name: round(statistics.median(rate), 1) for name, rate in rates.items()}
    return {
        "pictures": len(images),
        "decoders": cores(),
        "batch": batch,
        "way": f"{embedder.runtime} {embedder.precision}",
        "parity": round(embedder.parity, 5),
        "per_second": middle,
        "of_raw_forward": round(middle["files_to_vectors"] / middle["forward"], 3),
        "of_slowest_stage": round(middle["files_to_vectors"] / min(middle["decode"], middle["forward"]), 3),
    }


if __name__ == "__main__":
    main()
