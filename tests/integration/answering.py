"""Answers to those who search by a picture, as a worker gives them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.factory import unit
from umbel.base.types import Vector
from umbel.embedding import query_images

BROKEN = b"broken"  # in a picture that no worker can decode


@contextmanager
def answering(*vectors: Vector) -> Iterator[list[int]]:
    """Give the pictures these vectors in turn, over and over; yields how many came in each batch."""
    ended, batches, given = threading.Event(), [0], iter(range(10**9))
    vectors = vectors or (unit(1),)

    def answer() -> None:
        while not ended.wait(0.01):
            asked = query_images.claim_queries(32)
            if asked.version_id is not None:
                batches.append(len(asked.images))
                broken = {one for one, picture in asked.images.items() if BROKEN in picture.image}
                query_images.refuse_queries(dict.fromkeys(broken, ("corrupt_image", "It is broken.")))
                fine = [one for one in asked.images if one not in broken]
                found = {one: vectors[next(given) % len(vectors)] for one in fine}
                if found:
                    query_images.answer_queries(asked.version_id, found)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield batches
    finally:
        ended.set()
        thread.join()
