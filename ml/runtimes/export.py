"""A checkpoint as one file for other programs: ONNX or OpenVINO, from bytes of an image to a unit vector.

Standardization, flip and length are part of the graph; what is left to do before it, the cut and the resizing, stands
in the file's own metadata, under the key "umbel".
"""

import json
import warnings
from pathlib import Path
from typing import Any, Literal

import torch

from ml.card import ModelCard
from ml.checkpoint import load_checkpoint
from ml.runtimes.conversion import in_openvino
from ml.runtimes.openvino_forward import library
from ml.runtimes.parity import probe_set
from ml.runtimes.torch_forward import ServedNetwork
from umbel.base.errors import InvalidInput
from umbel.base.replacing import replacing

Format = Literal["onnx", "openvino"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}
KEY, INPUT, OUTPUT = "umbel", "images", "embeddings"
OPSET = 18


def export(checkpoint: Path, out: Path, kind: Format) -> dict[str, Any]:
    """Write the model to `out` (.onnx, or .xml with its .bin beside it), in float32; the facts that its metadata hold.

    Raises ModelNotFound, BadCheckpoint; InvalidInput where the package that writes the format is not installed.
    """
    network, card = load_checkpoint(checkpoint)
    served, facts = ServedNetwork(network, card.preprocessing), _facts(card)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        (_to_onnx if kind == "onnx" else _to_openvino)(served, card.preprocessing.size, facts, out)
    except ImportError as error:
        raise InvalidInput(f"--format {kind} needs a package: pip install {kind}") from error
    return facts


def _facts(card: ModelCard) -> dict[str, Any]:
    """What a program must know that feeds the file and stores what comes out."""
    size = card.preprocessing.size
    return {
        "name": card.name,
        "architecture": card.architecture,
        "weights_sha256": card.weights_sha256,
        "preprocessing": card.preprocessing.model_dump(mode="json"),
        "preprocessing_hash": card.preprocessing_hash,
        "input": {"name": INPUT, "shape": ["n", size, size, 3], "dtype": "uint8", "layout": "NHWC", "color": "RGB"},
        "output": {"name": OUTPUT, "shape": ["n", card.dim], "dtype": "float32", "norm": 1},
    }


def _to_onnx(served: ServedNetwork, size: int, facts: dict[str, Any], out: Path) -> None:
    import onnx  # noqa: PLC0415 - optional

    with replacing(out) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newer exporter needs two packages more
        torch.onnx.export(
            served,
            (torch.from_numpy(probe_set(size)[:2]),),
            partial,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "n"}, OUTPUT: {0: "n"}},
            opset_version=OPSET,
            dynamo=False,
        )
        model = onnx.load(partial)
        onnx.helper.set_model_props(model, {KEY: json.dumps(facts)})
        onnx.save(model, partial)


def _to_openvino(served: ServedNetwork, size: int, facts: dict[str, Any], out: Path) -> None:
    model = in_openvino(served, size)
    model.inputs[0].get_tensor().set_names({INPUT})
    model.outputs[0].get_tensor().set_names({OUTPUT})
    model.set_rt_info(json.dumps(facts), [KEY])
    library().save_model(model, out, compress_to_fp16=False)
