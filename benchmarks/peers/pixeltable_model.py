"""The network as a function of Pixeltable's, which hands it batches of opened pictures."""

from typing import Any

import numpy as np
import pixeltable as pxt
from PIL import Image
from pixeltable.func import Batch

from benchmarks.peers.store import BATCH, Model

_model: list[Model] = []


@pxt.udf(batch_size=BATCH)
def embed(images: Batch[Image.Image]) -> Batch[pxt.Array[(512,), np.float32]]:
    """Decoded by Pixeltable, so what is left is to bring them to size."""
    if not _model:
        _model.append(Model())
    [model] = _model
    pixels: list[Any] = [model.card.preprocessing.fit(image.convert("RGB")) for image in images]
    return list(model.embed_pixels(pixels))
