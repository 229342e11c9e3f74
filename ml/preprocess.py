"""From file bytes to what the network sees: one function for training's evaluation, the index, and a query.

Preprocessing is part of a model version: vectors made with two different ones must not be compared, so it carries a
hash. No torch at import: a card can be read, and a picture decoded, without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from umbel.base.fingerprint import fingerprint
from umbel.base.types import Box, ImageInfo, Pixels
from umbel.decoding.images import Color, corners, decode, see
from umbel.decoding.limits import Limits

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Triple = tuple[float, float, float]


class Preprocessing(BaseModel):
    """How a picture becomes the network's input. Everything in here changes the embedding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=192, ge=16, le=1024, description="Side of the network's square input, in pixels.")
    resize: Literal["crop", "squash"] = Field(
        default="crop", description="crop: the central square; squash: the whole picture, whatever its aspect."
    )
    crop: float = Field(default=1.0, gt=0, le=1, description="Share of the shorter side that the central square keeps.")
    interpolation: Literal["bilinear", "bicubic", "lanczos"] = Field(default="bicubic", description="Pillow's filter.")
    mean: Triple = Field(default=IMAGENET_MEAN, description="Subtracted from RGB in [0, 1].")
    std: Triple = Field(default=IMAGENET_STD, description="Divides after the mean is subtracted.")
    draft: int = Field(
        default=2,
        ge=0,
        description="JPEGs may be decoded at 1/2, 1/4, 1/8 while both sides keep this × size; 0: never.",
    )
    color: Color = Field(
        default="srgb", description="srgb: converted by the embedded profile; as_stored: profiles are left aside."
    )
    flip_average: bool = Field(default=False, description="Embed the mean over the picture and its mirror image.")

    @property
    def hash(self) -> str:
        """SHA-256 over the canonical JSON of every field, hex: equal exactly when the preprocessing is."""
        return fingerprint(self.model_dump(mode="json"))

    @classmethod
    def of_card(cls, stated: dict[str, Any]) -> Preprocessing:
        """What a card states; those made before colors were converted say nothing of them. Raises ValidationError."""
        return cls.model_validate({"color": "as_stored"} | stated)

    @model_serializer(mode="wrap")
    def _as_cards_state_it(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        stated: dict[str, Any] = dump(self)
        if self.color == "as_stored":
            del stated["color"]
        return stated

    def decode(self, data: bytes, limits: Limits, box: Box | None = None) -> Pixels:
        """File bytes → (size, size, 3) uint8 RGB, upright. box: of this part alone. Thread-safe. Raises ImageError."""
        return self.fit(self.opened(data, limits, box))

    def decode_whole(self, data: bytes, limits: Limits) -> tuple[ImageInfo, Pixels]:
        """What the picture in these file bytes is, and what `decode` makes of it. Raises ImageError."""
        seen = see(data, limits, side=self.size * self.draft, color=self.color)
        return seen.info, self.fit(seen.image)

    def opened(self, data: bytes, limits: Limits, box: Box | None = None) -> Image.Image:
        """File bytes → the upright RGB picture, or part of it, that `fit` takes. Thread-safe. Raises ImageError."""
        return decode(data, limits, side=self.size * self.draft, color=self.color, box=box)

    def decode_parts(self, data: bytes, limits: Limits, boxes: Sequence[Box]) -> list[Pixels]:
        """What `decode` makes of each of these parts of the picture in these file bytes, which is decoded once.

        Parts may be below the least side of an image. Raises ImageError.
        """
        least = min(min(box.width, box.height) for box in boxes)
        seen = see(data, limits, side=math.ceil(self.size * self.draft / least), color=self.color).image
        return [self.fit(seen.crop(corners(box, seen.size))) for box in boxes]

    def fit(self, picture: Image.Image) -> Pixels:
        """An upright RGB picture → (size, size, 3) uint8."""
        resample = Image.Resampling[self.interpolation.upper()]
        # Cropping inside resize() lets the filter see past the crop's edge and saves a copy.
        fitted = picture.resize((self.size, self.size), resample, box=self._box(*picture.size))
        return np.array(fitted, dtype=np.uint8)

    def _box(self, width: int, height: int) -> tuple[float, float, float, float]:
        if self.resize == "squash":
            return (0, 0, width, height)
        side = min(width, height) * self.crop
        left, top = (width - side) / 2, (height - side) / 2
        return (left, top, left + side, top + side)

    def normalise(self, batch: NDArray[np.uint8]) -> torch.Tensor:
        """(N, size, size, 3) uint8 RGB → (N, 3, size, size) float32, standardised, in channels-last memory."""
        import torch  # noqa: PLC0415 - see the module's docstring

        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        pixels = torch.from_numpy(batch).float()  # NHWC in memory is what torch calls channels_last once permuted
        return pixels.mul_(1 / (255 * std)).sub_(mean / std).permute(0, 3, 1, 2)
