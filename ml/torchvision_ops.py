"""Importing timm beside a torchvision that was built for another torch."""

import sys

from torch import library

# Held for the life of the process: the schemas vanish with the library object.
_library: library.Library | None = None


def make_importable() -> None:
    """Make `import torchvision`, and so `import timm`, work whichever wheel is installed.

    The registry's torchvision wheel is linked against CUDA. Beside the CPU build of torch its C++ operators do not
    load and its import ends in "operator torchvision::nms does not exist". Nothing here calls these operators, so
    declaring their schemas is enough. Where torchvision's own operators load, nothing is declared: a second
    declaration of the namespace would be refused.
    """
    global _library  # noqa: PLW0603 - one namespace a process, so one place that remembers it
    if _library is not None or "torchvision" in sys.modules:
        return
    try:
        import torchvision  # noqa: F401, PLC0415
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        _library = library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
