"""Int8: a checkpoint made anew with weights and activations of eight bits, which OpenVINO alone can run.

Its vectors differ from those of the float checkpoint, so it is a model version of its own. Post-training, weights per
channel; the ranges of activations are learnt from pictures, and the layers that lose most stay in float until the
vectors are near enough. Sources: docs.openvino.ai, "Basic Quantization Flow" (NNCF); docs/experiments.md, "Int8".
"""

import hashlib
import io
import logging
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ml.card import ModelCard, Provenance, Quantization, verified_card, write_checkpoint
from ml.checkpoint import load_checkpoint, now
from ml.runtimes.conversion import in_openvino, read_conversion
from ml.runtimes.int8_file import pack, unpack
from ml.runtimes.int8_graph import always_float, any_length, bypassed, fixed, halved, quantizers
from ml.runtimes.openvino_forward import BATCH, OpenVinoForward, library
from ml.runtimes.parity import probe_set
from ml.runtimes.torch_forward import ServedNetwork
from umbel.base.errors import BadCheckpoint, InvalidInput
from umbel.base.machine import cores
from umbel.base.types import Pixels, Vectors

LEAST = 50  # pictures: ranges learnt from fewer clip what the others have
JUDGES = 5  # every fifth picture is not learnt from: it tells how near the vectors are
RANKED = 32  # pictures, those of the worst vectors, by which the layers are ranked
AIM = 0.99  # cosine to the vector in float, which 99 of 100 pictures are to reach, unless said otherwise
FEWER = (0.05, 0.1, 0.15, 0.2)  # shares of the layers that stay in float while the aim is missed; more are not worth it

Tell = Callable[[str], None]


def save_quantized(
    path: Path,
    checkpoint: Path,
    pictures: Sequence[Pixels],
    *,
    name: str,
    source: str,
    aim: float = AIM,
    tell: Tell = lambda remark: None,
) -> ModelCard:
    """Write the model of a checkpoint in int8, and its card.

    pictures: (size, size, 3) uint8, such as the gallery has, as the checkpoint's preprocessing made them; name: the new
    model's; source: where the pictures are from, in words; aim: the cosine to the
    vector in float that 99 of 100 pictures are to reach; tell: what is being done, for people. The calibration is
    left out: distances are others now.
    Raises InvalidInput for fewer than LEAST pictures or without NNCF, Conflict for a model that is quantized already,
    and as load_checkpoint does.
    """
    if len(pictures) < LEAST:
        raise InvalidInput(f"Quantizing needs at least {LEAST} pictures, and there are {len(pictures):,}.")
    require_nncf()
    network, card = load_checkpoint(checkpoint)
    model = fixed(in_openvino(ServedNetwork(network, card.preprocessing), card.preprocessing.size))
    judges = np.stack(pictures[::JUDGES])
    taught = np.stack([each for number, each in enumerate(pictures) if number % JUDGES])
    tell(f"Learning ranges from {len(taught):,} pictures.")
    made = _quantized(model, taught)
    made, in_float = _near_enough(made, taught, _embed(model, taught, "fp32"), aim, tell)
    made = halved(made)
    any_length(made)
    cosines = _cosines(_embed(made, judges), _embed(model, judges, "fp32"))
    weights = _packed(made, card.preprocessing.size)
    changed = {
        "name": name,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "provenance": Provenance(
            data=[f"{len(taught):,} pictures of {source}, without labels, for the ranges of int8"],
            start=card.name,
            start_sha256=card.weights_sha256,
            created_at=now(),
            note=f"{card.name} in int8; that was trained on: {'; '.join(card.provenance.data)}",
        ),
        "quantization": Quantization(
            pictures=len(taught),
            judges=len(judges),
            cosine_p50=round(float(np.quantile(cosines, 0.5)), 4),
            cosine_p1=round(_at_p1(cosines), 4),
            in_float=in_float,
            nncf=version("nncf"),
            openvino=library().__version__.partition("-")[0],
        ),
        "metrics": {},
        "calibration": None,
    }
    return write_checkpoint(path, weights, card.model_copy(update=changed))


def check_quantized(checkpoint: Path) -> None:
    """Raises BadCheckpoint where a checkpoint in int8 holds no network, or one that does not fit its card."""
    card = verified_card(checkpoint)
    with tempfile.TemporaryDirectory(prefix="umbel-") as folder:
        made = Path(folder, "made")
        unpack(checkpoint, made)
        converted = read_conversion(made)
    size = card.preprocessing.size
    if converted.probe.shape[1:] != (size, size, 3) or converted.reference.shape[1:] != (card.dim,):
        raise BadCheckpoint(f"The network in {checkpoint} does not fit the size or the width that its card states.")


def require_nncf() -> Any:
    """The package that quantizes. Raises InvalidInput without it."""
    try:
        return import_module("nncf")
    except ImportError as error:
        raise InvalidInput("Quantizing needs a package: pip install 'umbel[quantize]'") from error


def _quantized(model: Any, pictures: Pixels) -> Any:
    """With ranges from histograms, of which the fewest vectors are far off, and weights of seven bits.

    CPUs without VNNI add pairs of products in 16 bits, which eight bits overflow: their vectors would be others.
    """
    nncf = require_nncf()
    ranges = import_module("nncf.quantization.range_estimator").RangeEstimatorParametersSet
    overflow = import_module("nncf.quantization.advanced_parameters").OverflowFix
    nncf.set_log_level(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):  # its progress bars
            return nncf.quantize(
                model,
                nncf.Dataset([picture[None] for picture in pictures]),
                preset=nncf.QuantizationPreset.MIXED,  # activations may have either sign, as after SiLU
                subset_size=len(pictures),
                ignored_scope=nncf.IgnoredScope(names=always_float(model), validate=False),
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    overflow_fix=overflow.ENABLE, activations_range_estimator_params=ranges.HISTOGRAM
                ),
            )
    except (RuntimeError, ValueError) as error:  # such as one whose activations do not vary
        raise InvalidInput(f"This model cannot be quantized: {str(error).strip()[-200:]}") from error


def _near_enough(made: Any, pictures: Pixels, exact: Vectors, aim: float, tell: Tell) -> tuple[Any, int]:
    """The model with as few layers in float as the aim needs, or as FEWER allows; and how many quantizers that skips.

    Layers are ranked by the error that each of them alone makes in the vectors: these errors add up nearly.
    """
    cosines = _cosines(_embed(made, pictures), exact)
    if _at_p1(cosines) >= aim:
        return made, 0
    worst = np.argsort(cosines)[:RANKED]
    names = quantizers(made)
    tell(f"Ranking {len(names)} layers by their errors.")
    without = _embed(bypassed(made, names), pictures[worst])
    error = {}
    for name in names:
        alone = bypassed(made, [other for other in names if other != name])
        error[name] = 1 - float(_cosines(_embed(alone, pictures[worst]), without).mean())
    ranked = sorted(names, key=lambda name: -error[name])
    for share in FEWER:
        count = round(share * len(names))
        tried = bypassed(made, ranked[:count])
        if _at_p1(_cosines(_embed(tried, pictures), exact)) >= aim:
            break
    return tried, count


def _at_p1(cosines: Vectors) -> float:
    return float(np.quantile(cosines, 0.01))


def _embed(model: Any, pictures: Pixels, precision: str = "int8") -> Vectors:
    """(n, size, size, 3) uint8 → (n, dim): by a worker's runtime, which compiles for its own batch sizes."""
    threads = cores()
    model = model.clone()
    any_length(model)
    forward = OpenVinoForward(model, precision, lanes=1, threads=threads)
    parts = [forward(pictures[at : at + BATCH]) for at in range(0, len(pictures), BATCH)]
    return np.concatenate(parts)


def _cosines(some: Vectors, others: Vectors) -> Vectors:
    """(n, dim) twice, of unit length → (n,)."""
    cosines: Vectors = (some * others).sum(1)
    return cosines


def _packed(made: Any, size: int) -> bytes:
    with tempfile.TemporaryDirectory(prefix="umbel-") as folder:
        network = Path(folder, "network.xml")
        library().save_model(made, network, compress_to_fp16=False)
        return pack(network, _embed(made, probe_set(size)))
