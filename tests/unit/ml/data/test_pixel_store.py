"""Decoded pictures come back as they were kept, from memory and from the file."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.pixel_store import PixelStore


def picture(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (int(rng.integers(1, 40)), int(rng.integers(1, 40)), 3), dtype=np.uint8)


@settings(deadline=None)
@given(count=st.integers(0, 30), memory=st.integers(0, 40_000))
def test_every_picture_comes_back_whatever_fits_in_memory(count, memory):
    store = PixelStore(count, memory)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: store.keep(number, picture(number)), range(count)))

    assert len(store) == count
    for number in range(count):
        np.testing.assert_array_equal(store[number], picture(number))


def test_some_of_them_in_another_order():
    store = PixelStore(5, memory=0)
    for number in range(5):
        store.keep(number, picture(number))

    some = store.only([4, 1])

    assert [one.shape for one in some] == [picture(4).shape, picture(1).shape]
    np.testing.assert_array_equal(some[1], picture(1))


def test_what_was_never_kept_is_missed():
    with pytest.raises(LookupError, match="number 0"):
        PixelStore(1)[0]
