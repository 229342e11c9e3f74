"""How much freed memory glibc's malloc keeps. Without glibc these functions do nothing."""

import ctypes
from contextlib import suppress

# Source: mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8


def share_arenas() -> None:
    """Let all threads share two arenas instead of sixteen; call it before any thread is started.

    Each arena keeps what its busiest moment took. Over 20,000 imported images a worker grew by 1.4 KB an image with
    sixteen, and not at all with two.
    """
    _mallopt(M_ARENA_MAX, 2)


def keep_blocks() -> None:
    """Keep a little freed memory, and return the rest.

    By default glibc returns nearly all after each image, and mapping it anew took a fifth of the decoding time; and
    after an image of 40 megapixels it kept hundreds of MB.
    """
    _mallopt(M_MMAP_THRESHOLD, 8 * 2**20)  # bytes from which a block is given back at once when it is freed
    _mallopt(M_TRIM_THRESHOLD, 32 * 2**20)  # freed bytes that may stay at the end of the heap


def return_blocks() -> None:
    """Give every large block back when it is freed, instead of raising the size from which that is done.

    By default that rises to 32 MiB with the first upload of that size: then threads that pass files along keep what
    they took. While pictures of 40 megapixels were fetched, the API grew to 570 MB, and with this to 240.
    """
    _mallopt(M_MMAP_THRESHOLD, 2**18)


def _mallopt(what: int, value: int) -> None:
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(what, value)
