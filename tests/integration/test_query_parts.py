"""A worker embeds the parts that searches wait for, of pictures that were sent and of stored images."""

from concurrent.futures import Future
from uuid import uuid4

import numpy as np
import pytest

from tests.integration.test_leases import Model, leases, line
from umbel.base.errors import TransientError
from umbel.base.types import Box, Pixels
from umbel.embedding import query_images
from umbel.embedding.query_images import Picture
from umbel.search.search import refusal

BOX = Box(0.5, 0, 0.5, 1)

pytestmark = pytest.mark.usefixtures("database")


class Decoder:
    """Whose blob store is away. boxes: those that were asked for."""

    def __init__(self) -> None:
        self.boxes: list[Box | None] = []

    def decode(self, image: bytes | str, *, box: Box | None = None, urgent: bool = False) -> Future[Pixels]:
        self.boxes.append(box)
        decoded: Future[Pixels] = Future()
        if isinstance(image, str):
            decoded.set_exception(TransientError("The bucket does not answer."))
        else:
            decoded.set_result(np.zeros((1, 1, 3), np.uint8))
        return decoded


def test_a_blob_store_that_is_away_fails_only_the_searches_that_need_it() -> None:
    decoder, sent, stored = Decoder(), uuid4(), uuid4()
    worker = line(leases(), Model(lambda: None), decoder)  # type: ignore[arg-type]
    query_images.insert_queries({sent: Picture(b"picture", BOX), stored: Picture("ab/picture", BOX)})
    assert worker.answer_queries() == 2
    assert decoder.boxes == [BOX, BOX]
    embedded, rejected = query_images.take_answer(sent), query_images.take_answer(stored)
    assert embedded is not None
    assert embedded.vector is not None
    assert rejected is not None
    assert rejected.error == ("transient", "The bucket does not answer.")
    assert type(refusal(*rejected.error)) is TransientError
