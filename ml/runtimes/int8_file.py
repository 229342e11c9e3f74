"""What a checkpoint in int8 holds: a network in OpenVINO's form, and its vectors where it was quantized."""

import zlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from ml.runtimes.openvino_forward import core
from ml.runtimes.parity import probe_set
from umbel.base.errors import BadCheckpoint
from umbel.base.types import Vectors

NETWORK, WEIGHTS, REFERENCE = "openvino.xml.zlib", "openvino.bin.zlib", "reference"  # bytes, bytes, (8, dim) float32
LONGEST = 2**32  # bytes of either, decompressed


def pack(network: Path, reference: Vectors) -> bytes:
    """A safetensors file. network: an .xml, its .bin beside it; reference: what the network makes of the probe."""
    files = {NETWORK: network, WEIGHTS: network.with_suffix(".bin")}
    held = {name: np.frombuffer(zlib.compress(path.read_bytes(), 9), np.uint8) for name, path in files.items()}
    return to_bytes(held | {REFERENCE: reference})


def unpack(checkpoint: Path, folder: Path) -> None:
    """Write the network, the probe and its vectors into a new folder, as ml.runtimes.conversion keeps them.

    Raises BadCheckpoint where the file holds something else.
    """
    try:
        held = load_file(checkpoint)
        network, weights, reference = _bytes(held[NETWORK]), _bytes(held[WEIGHTS]), held[REFERENCE]
    except (SafetensorError, KeyError, zlib.error) as error:
        raise BadCheckpoint(f"{checkpoint} holds no network of OpenVINO: {error}") from error
    folder.mkdir()
    (folder / "network.xml").write_bytes(network)
    (folder / "network.bin").write_bytes(weights)
    try:
        size = core().read_model(folder / "network.xml").input(0).partial_shape[1].get_length()
    except RuntimeError as error:
        raise BadCheckpoint(f"The network in {checkpoint} cannot be read: {str(error).strip()[-200:]}") from error
    np.savez(folder / "probe.npz", probe=probe_set(size), reference=reference)


def _bytes(compressed: np.ndarray) -> bytes:
    """Raises zlib.error where these are no such bytes."""
    return zlib.decompressobj().decompress(compressed.tobytes(), LONGEST)
