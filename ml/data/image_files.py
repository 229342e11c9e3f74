"""Images that are decoded each time they are asked for: of sets that are too large to be kept decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ml.preprocess import Preprocessing
from umbel.base.errors import BadDataset, ImageError
from umbel.base.types import Pixels
from umbel.decoding.limits import Limits


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Images (height, width, 3) uint8 in the order of the paths, opened as the preprocessing does.

    side: at most of the shorter side; None: as the preprocessing fits them. It holds no more than the paths, so that
    other processes can have it.
    """

    paths: Sequence[Path]
    limits: Limits
    preprocessing: Preprocessing
    side: int | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Pixels:
        """Raises BadDataset when a file that was readable once is no longer so."""
        path = self.paths[number]
        try:
            image = self.preprocessing.opened(path.read_bytes(), self.limits)
        except (ImageError, OSError) as error:
            raise BadDataset(f"{path} cannot be read any more: {error}") from error
        return self.preprocessing.fit(image) if self.side is None else shrunk(image, self.side)


def shrunk(image: Image.Image, side: int) -> Pixels:
    """An image whose shorter side is at most `side`, as pixels."""
    shrink = side / min(image.size)
    if shrink < 1:
        image = image.resize((round(image.width * shrink), round(image.height * shrink)), Image.Resampling.BICUBIC)
    return np.array(image)
