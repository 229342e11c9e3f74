"""The decoders of a worker: pixels for its models, and signatures for comparing images."""

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np

from ml.preprocess import Preprocessing
from ml.threads import decoding_processes
from umbel.base.settings import Settings
from umbel.base.types import Box, ImageInfo, ImageSignature, Pixels
from umbel.decoding.child import Job
from umbel.decoding.pool import DecoderPool, Priority
from worker.decoding_jobs import (
    Decode,
    info_and_pixels_by,
    info_and_pixels_for,
    parts_by,
    parts_for,
    pixels_by,
    pixels_for,
    signature,
)


class WorkerDecoders(DecoderPool):
    """umbel.base.types.Decoder on `decoding_processes` children."""

    def __init__(self, preprocessing: Preprocessing, settings: Settings, *, decode: Decode | None = None) -> None:
        """preprocessing: how pixels are made of an image; `fitted` gives a decoder with another.

        decode: file bytes → pixels, instead of any preprocessing's; the children import it by its name.
        """
        self._preprocessing = "" if decode else preprocessing.model_dump_json()
        jobs: dict[str, Job] = {
            "pixels": partial(pixels_by, decode) if decode else pixels_for,
            "parts": partial(parts_by, decode) if decode else parts_for,
            "info_and_pixels": partial(info_and_pixels_by, decode) if decode else info_and_pixels_for,
            "signature": signature,
        }
        super().__init__(decoding_processes(settings), settings, jobs)

    def decode(self, image: bytes | str, *, box: Box | None = None, urgent: bool = False) -> Future[Pixels]:
        """Pixels of file bytes, or of the blob with this key. box: of this part alone. urgent: before all others."""
        return self.decode_for(self._preprocessing, image, box=box, urgent=urgent)

    def decode_parts(self, blob_key: str, boxes: Sequence[Box]) -> Future[list[Pixels]]:
        """Pixels of each of these parts of the image in this blob, which is decoded once."""
        return self.decode_parts_for(self._preprocessing, blob_key, boxes)

    def inspect_and_decode(self, data: bytes) -> Future[tuple[ImageInfo, Pixels]]:
        """What `inspect` and `decode` give of these file bytes, in one visit."""
        return self.inspect_and_decode_for(self._preprocessing, data)

    def inspect_and_decode_for(self, preprocessing: str, data: bytes) -> Future[tuple[ImageInfo, Pixels]]:
        """As `inspect_and_decode`, with another preprocessing."""
        return self.submit("info_and_pixels", data, _info_and_pixels, preprocessing)

    def decode_for(self, preprocessing: str, image: bytes | str, *, box: Box | None, urgent: bool) -> Future[Pixels]:
        """As `decode`, with another preprocessing."""
        priority = Priority.URGENT if urgent else Priority.BATCH
        return self.submit("pixels", image, _pixels, preprocessing, box, priority=priority)

    def decode_parts_for(self, preprocessing: str, blob_key: str, boxes: Sequence[Box]) -> Future[list[Pixels]]:
        """As `decode_parts`, with another preprocessing."""
        return self.submit("parts", blob_key, lambda head, body: list(_pixels(head, body)), preprocessing, list(boxes))

    def fitted(self, preprocessing: Preprocessing) -> "FittedDecoder":
        """A decoder on these children that makes pixels for another model."""
        return FittedDecoder(self, preprocessing)

    def signature(self, blob_key: str) -> Future[ImageSignature]:
        """The signature of the image in this blob."""
        return self.submit("signature", blob_key, lambda head, body: ImageSignature(head[0], _pixels(head[1:], body)))


class FittedDecoder:
    """umbel.base.types.Decoder on the decoders of a worker, with a preprocessing of its own."""

    def __init__(self, decoders: WorkerDecoders, preprocessing: Preprocessing) -> None:
        self.inspect, self.signature = decoders.inspect, decoders.signature
        self._decoders, self._preprocessing = decoders, preprocessing.model_dump_json()

    def inspect_and_decode(self, data: bytes) -> Future[tuple[ImageInfo, Pixels]]:
        """As `WorkerDecoders.inspect_and_decode`."""
        return self._decoders.inspect_and_decode_for(self._preprocessing, data)

    def decode(self, image: bytes | str, *, box: Box | None = None, urgent: bool = False) -> Future[Pixels]:
        """As `WorkerDecoders.decode`."""
        return self._decoders.decode_for(self._preprocessing, image, box=box, urgent=urgent)

    def decode_parts(self, blob_key: str, boxes: Sequence[Box]) -> Future[list[Pixels]]:
        """As `WorkerDecoders.decode_parts`."""
        return self._decoders.decode_parts_for(self._preprocessing, blob_key, boxes)


def _info_and_pixels(header: list[Any], body: bytearray) -> tuple[ImageInfo, Pixels]:
    return ImageInfo(*header[:4]), _pixels(header[4:], body)


def _pixels(shape: list[Any], body: bytearray) -> Pixels:
    return np.frombuffer(body, np.uint8).reshape(shape)
