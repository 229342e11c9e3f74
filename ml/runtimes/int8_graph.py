"""Changes to a network in OpenVINO's form on its way to int8: which operations stay in float, and what is stored."""

from collections.abc import Collection
from typing import Any

import numpy as np

from ml.runtimes.openvino_forward import core, library

QUANTIZER = "FakeQuantize"
CONVOLUTION = "Convolution"
WEIGHTED = (CONVOLUTION, "GroupConvolution", "MatMul")
MOVES = ("Pad", "Reshape", "Transpose", "MaxPool")  # what lets the numbers of a quantizer through as they are
EXACT = "INFERENCE_PRECISION_HINT"
HALVED = 4096  # numbers: what is as long is kept in half precision, as in checkpoints


def fixed(model: Any) -> Any:
    """The model for one picture at a time, and what depends on its size computed, such as the padding."""
    from openvino import passes  # noqa: PLC0415 - takes a while, and only quantizing needs it

    fixed = model.clone()
    size = fixed.input(0).partial_shape[1].get_length()
    fixed.reshape([1, size, size, 3])
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(fixed)
    return fixed


def always_float(model: Any) -> list[str]:
    """Names of the operations of a `fixed` model that stay in float32 whatever the pictures: a fiftieth of its work.

    First the one convolution that sees pixels, which are bytes already: eight bits once more after standardizing cost
    a quarter of all error. Then all that has no place in the picture any more, that is the projection, what follows
    it, and the division by the length, which a quantizer would clip: vectors were up to 9 % too long.
    """
    operations = model.get_ordered_ops()
    first = [each.get_friendly_name() for each in operations if each.get_type_name() == CONVOLUTION][:1]
    return first + [each.get_friendly_name() for each in operations if _is_flat(each)]


def quantizers(model: Any) -> list[str]:
    """Names of the quantizers of activations, from the input on."""
    return [each.get_friendly_name() for each in model.get_ordered_ops() if each.get_type_name() == QUANTIZER]


def bypassed(model: Any, names: Collection[str]) -> Any:
    """The model without these quantizers: what takes their output computes in float32.

    So do its weights then. Convolutions in float32 with weights of eight bits gave vectors without any likeness
    (cosine 0) where OpenVINO 2026.4 ran two streams of one thread each.
    """
    changed = model.clone()
    for each in changed.get_ordered_ops():
        if each.get_type_name() == QUANTIZER and each.get_friendly_name() in names:
            source = each.input(0).get_source_output()
            for target in list(each.output(0).get_target_inputs()):
                target.replace_source_output(source)
    for each in changed.get_ordered_ops():
        if each.get_type_name() in WEIGHTED and not _sees_a_quantizer(each):
            _replace(each.input(1).get_source_output(), _value(each.input(1).get_source_output()), np.float32)
    return changed


def halved(model: Any) -> Any:
    """The model with its long constants of float32 in half precision, which it makes float32 of when it is compiled."""
    changed = model.clone()
    for each in changed.get_ops():
        if each.get_type_name() != "Constant" or each.get_element_type() != library().Type.f32:
            continue
        if each.data.size >= HALVED:
            _replace(each.output(0), each.data, np.float16)
    return changed


def _sees_a_quantizer(operation: Any) -> bool:
    source = operation.input(0).get_source_output().get_node()
    while source.get_type_name() in MOVES:
        source = source.input(0).get_source_output().get_node()
    return bool(source.get_type_name() == QUANTIZER)


def _value(output: Any) -> np.ndarray:
    """What comes out of constants."""
    node = output.get_node()
    if node.get_type_name() == "Constant":
        return np.asarray(node.data)
    compiled = core().compile_model(library().Model([output], [], "constants"), "CPU", {EXACT: "f32"})
    return np.array(compiled([])[0])


def _replace(output: Any, numbers: np.ndarray, kept_as: type) -> None:
    from openvino import opset13 as operations  # noqa: PLC0415 - takes a while, and only quantizing needs it

    constant = operations.constant(numbers.astype(kept_as))
    new = operations.convert(constant, "f32") if kept_as is np.float16 else constant
    for target in list(output.get_target_inputs()):
        target.replace_source_output(new.output(0))


def any_length(model: Any) -> None:
    """Let a `fixed` model take batches of any length again."""
    size = model.input(0).partial_shape[1].get_length()
    model.reshape([-1, size, size, 3])


def _is_flat(operation: Any) -> bool:
    if operation.get_type_name() in ("Constant", "Parameter", "Result") or not operation.get_output_size():
        return False
    shape = operation.output(0).partial_shape
    return bool(shape.rank.is_static and len(shape) <= 2)
