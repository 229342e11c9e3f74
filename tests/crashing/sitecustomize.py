"""A hole in the decoder: a Python with this folder on its PYTHONPATH dies of any JPEG whose comment is `crash`."""

import os
import signal

from PIL.JpegImagePlugin import JpegImageFile

_load = JpegImageFile.load


def load(self: JpegImageFile) -> object:
    if self.info.get("comment") == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)  # as an error in a C library would, and no except catches it
    return _load(self)


JpegImageFile.load = load  # type: ignore[method-assign,assignment]
