"""A GPU that is lost: a Python with this folder on its PYTHONPATH fails every forward of more than the probe pictures.

BROKEN_FORWARD is what torch says then. Or HANGING_FORWARD is a file: one forward that finds it and deletes it never
returns.
"""

import os
import sys
import threading
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


class Broken(MetaPathFinder):
    """Finds ml.embedder as it is, and breaks it when it has been loaded."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == "ml.embedder" else None
        if spec and spec.loader:
            spec.loader.exec_module = self._broken(spec.loader)  # type: ignore[method-assign]
        return spec

    def _broken(self, loader: Loader) -> Any:
        whole = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            whole(module)
            embed = module.NetworkEmbedder.embed

            def broken(self: Any, pixels: Any, **options: Any) -> Any:
                if options and "BROKEN_FORWARD" in os.environ:  # the worker's own way of calling it
                    raise RuntimeError(os.environ["BROKEN_FORWARD"])
                if options and deleted(os.environ.get("HANGING_FORWARD", "")):
                    threading.Event().wait()
                return embed(self, pixels, **options)

            module.NetworkEmbedder.embed = broken

        return exec_module


def deleted(path: str) -> bool:
    """Whether the file was there; now it is not."""
    try:
        os.remove(path)
    except OSError:
        return False
    return True


sys.meta_path.insert(0, Broken())
