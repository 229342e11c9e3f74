"""The model and the decoders: there, loadable, and how they run on this machine."""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib.util import find_spec

from PIL import Image

from cli.doctor.finding import Finding, error, ok, warning
from umbel.base.errors import UmbelError
from umbel.base.settings import Settings
from umbel.decoding.images import decode

WRITTEN = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP")  # by Pillow


def check_model(settings: Settings) -> Iterator[Finding]:
    """The checkpoint that a new gallery begins with, loaded as a worker would."""
    if find_spec("torch") is None:
        yield ok("model", "This machine has no torch, so it runs no worker; nothing else needs it.")
        return
    from ml.checkpoint import load_checkpoint
    from ml.runtimes.choice import list_measurements
    from ml.shipped import find_checkpoint

    try:
        checkpoint = find_checkpoint(settings)
        load_checkpoint(checkpoint)
    except (UmbelError, OSError) as refused:
        yield error("model", str(refused), "Set UMBEL_CHECKPOINT, or unset it for the model that comes with Umbel.")
        return
    yield ok("model", f"{checkpoint.name} loads.")
    chosen = next((one for one in list_measurements(settings.home) if one.timings), None)
    if chosen is None:
        yield ok("runtime", "Not chosen yet on this machine: a worker measures when it first loads the model.")
        return
    fastest = chosen.timings[0]
    speed = "" if fastest.per_second is None else f", {fastest.per_second:.0f} images a second"
    found = f"{chosen.model}: {fastest.setup.runtime} in {fastest.setup.precision}{speed}."
    yield (
        ok("runtime", found)
        if chosen.calm
        else warning(
            "runtime", f"{found} The machine was busy when it was measured.", "Restart the worker when it is idle."
        )
    )


def check_decoders(settings: Settings) -> Iterator[Finding]:
    """A small picture of each kind is decoded; nothing here can write HEIC, so of that only the library is loaded."""
    lacking = [kind for kind in WRITTEN if not _decodes(kind, settings)]
    if find_spec("pi_heif") is None:
        lacking.append("HEIC")
    if lacking:
        remedy = "Install Pillow and pi-heif anew, as wheels: they bring the libraries."
        yield error("decoders", f"These kinds of pictures cannot be decoded: {', '.join(lacking)}.", remedy)
    else:
        yield ok("decoders", f"{', '.join(WRITTEN)} and HEIC can be decoded.")


def _decodes(kind: str, settings: Settings) -> bool:
    file = io.BytesIO()
    side = max(32, settings.min_side)
    try:
        Image.new("RGB", (side, side), "green").save(file, kind)
        decode(file.getvalue(), settings)
    except (UmbelError, OSError, KeyError):
        return False
    return True
