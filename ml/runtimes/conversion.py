"""From torch to OpenVINO, once for each model: the result is kept in UMBEL_HOME.

It is made in a process of its own, so that a worker never needs torch, nor its memory. Source: docs.openvino.ai,
"Convert a PyTorch model".
"""

import shutil
import sys
import tempfile
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import structlog

from ml.card import ModelCard, read_card
from ml.runtimes.elsewhere import run_elsewhere
from ml.runtimes.openvino_forward import core, library
from ml.runtimes.parity import probe_set
from umbel.base.types import Pixels, Vectors

PATIENCE_SECONDS = 600  # seconds are usual; minutes on a machine that is busy with other things

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Converted:
    """A network in OpenVINO's form; probe: pictures; reference: what torch in float32 makes of them.

    place: the folder where it is kept; None where it could not be.
    """

    model: Any
    probe: Pixels
    reference: Vectors
    place: Path | None


def converted(checkpoint: Path, card: ModelCard, models: Path) -> Converted:
    """The network of a checkpoint in OpenVINO's form: the one kept below `models`, else converted now and kept there.

    Raises RuntimeError when it cannot be converted.
    """
    place = _place(models, card)
    if place.is_dir():
        try:
            return read_conversion(place)
        except (OSError, RuntimeError, ValueError, KeyError, BadZipFile) as error:
            log.warning("conversion_unreadable", path=str(place), error=str(error).strip()[-300:])
            forget_conversion(models, card)
    with ExitStack() as stack:
        made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="umbel-", dir=_beside(place)))) / "made"
        run_elsewhere(__name__, str(checkpoint), str(made), seconds=PATIENCE_SECONDS)
        return read_conversion(place) if _kept(made, place) else replace(read_conversion(made), place=None)


def forget_conversion(models: Path, card: ModelCard) -> None:
    """Remove what is kept of this model."""
    shutil.rmtree(_place(models, card), ignore_errors=True)


def _place(models: Path, card: ModelCard) -> Path:
    """A conversion depends on weights, preprocessing and OpenVINO's version; the precision is chosen when it loads."""
    version = library().__version__.partition("-")[0]
    return models / "openvino" / f"{card.weights_sha256[:16]}-{card.preprocessing_hash[:16]}-{version}"


def _beside(place: Path) -> Path | None:
    """Where a folder can be made that is then moved to `place`; None, for any other place, when that cannot be."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return place.parent


def _kept(made: Path, place: Path) -> bool:
    """Whether it is at `place` now. A home that cannot be written to costs seconds at every start, and no more."""
    try:
        made.rename(place)
    except OSError as error:
        if not place.is_dir():  # else another worker was first
            log.warning("conversion_not_kept", path=str(place), error=str(error))
            return False
    return True


def convert(checkpoint: Path, folder: Path) -> None:
    """Write the whole network, from bytes to unit vectors, for batches of any length, in float32, into a new folder."""
    if read_card(checkpoint).quantization is not None:  # it is in OpenVINO's form already
        from ml.runtimes.int8_file import unpack  # noqa: PLC0415 - brings safetensors, which `umbel status` does without

        unpack(checkpoint, folder)
        return
    import torch  # noqa: PLC0415 - only here: see the module's docstring

    from ml.checkpoint import load_checkpoint  # noqa: PLC0415
    from ml.runtimes.torch_forward import ServedNetwork, reference_vectors  # noqa: PLC0415

    torch.set_num_threads(1)  # on cores that others use too, a team of threads waits for its slowest
    network, card = load_checkpoint(checkpoint)
    served, size = ServedNetwork(network, card.preprocessing), card.preprocessing.size
    probe = probe_set(size)
    reference = reference_vectors(served, probe)
    model = in_openvino(served, size)
    folder.mkdir()
    library().save_model(model, folder / "network.xml", compress_to_fp16=False)
    np.savez(folder / "probe.npz", probe=probe, reference=reference)


def in_openvino(served: Any, size: int) -> Any:
    """A ServedNetwork for images of `size` in OpenVINO's form, for batches of any length."""
    import torch  # noqa: PLC0415 - only here: see the module's docstring

    with torch.no_grad(), warnings.catch_warnings():
        # Traced here, without the check that convert_model() would spend half of its time on: the gate checks more.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(served, torch.from_numpy(probe_set(size)[:2]), check_trace=False)
    return library().convert_model(traced, input=[([-1, size, size, 3], library().Type.u8)])


def read_conversion(place: Path) -> Converted:
    """What is kept in a folder. Raises OSError, RuntimeError, ValueError, KeyError, BadZipFile where it is damaged."""
    with np.load(place / "probe.npz") as kept:
        probe, reference = kept["probe"], kept["reference"]
    return Converted(core().read_model(place / "network.xml"), probe, reference, place)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
