"""What the decoders of a worker do besides the jobs that all decoders know. Their processes import this: no torch."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from ml.preprocess import Preprocessing
from umbel.base.types import Box, Pixels
from umbel.decoding.child import told
from umbel.decoding.images import inspect
from umbel.decoding.limits import Limits
from umbel.insights.signature import signature_of

Decode = Callable[[bytes], Pixels]


def pixels_for(data: bytes, limits: Limits, preprocessing: str, box: Sequence[float] | None) -> tuple[list[Any], bytes]:
    """What a model sees of a picture, or of a part of it; preprocessing: as JSON."""
    return _framed(_preprocessing(preprocessing).decode(data, limits, Box(*box) if box else None))


def pixels_by(decode: Decode, data: bytes, *_: Any) -> tuple[list[Any], bytes]:
    """What another function makes of a picture."""
    return _framed(np.asarray(decode(data), np.uint8))


def parts_for(
    data: bytes, limits: Limits, preprocessing: str, boxes: Sequence[Sequence[float]]
) -> tuple[list[Any], bytes]:
    """What a model sees of each of these parts of a picture; preprocessing: as JSON."""
    parts = _preprocessing(preprocessing).decode_parts(data, limits, [Box(*box) for box in boxes])
    return _framed(np.stack(parts))


def parts_by(
    decode: Decode, data: bytes, _limits: Limits, _preprocessing: str, boxes: Sequence[Any]
) -> tuple[list[Any], bytes]:
    """What another function makes of a picture, for each of these parts."""
    return _framed(np.stack([np.asarray(decode(data), np.uint8)] * len(boxes)))


def info_and_pixels_for(data: bytes, limits: Limits, preprocessing: str) -> tuple[list[Any], bytes]:
    """What a picture is, and what a model sees of it; preprocessing: as JSON."""
    info, pixels = _preprocessing(preprocessing).decode_whole(data, limits)
    shape, body = _framed(pixels)
    return [*told(info), *shape], body


def info_and_pixels_by(decode: Decode, data: bytes, limits: Limits, *_: Any) -> tuple[list[Any], bytes]:
    """What a picture is, and what another function makes of it."""
    shape, body = _framed(np.asarray(decode(data), np.uint8))
    return [*told(inspect(data, limits)), *shape], body


def signature(data: bytes, limits: Limits) -> tuple[list[Any], bytes]:
    """Sharpness and gray copy of a picture."""
    seen = signature_of(data, limits)
    return [seen.sharpness, *seen.pixels.shape], seen.pixels.tobytes()


def _framed(pixels: Pixels) -> tuple[list[Any], bytes]:
    return list(pixels.shape), pixels.tobytes()


@cache
def _preprocessing(as_json: str) -> Preprocessing:
    return Preprocessing.of_card(json.loads(as_json))
