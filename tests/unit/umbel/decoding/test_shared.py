"""Memory that a decoder shares with its parent, used from both sides of one file."""

import os
import resource
import subprocess
import sys

import pytest

from umbel.decoding.shared import SIZE, SharedMemory


def test_what_one_side_leaves_the_other_gets() -> None:
    file, ours = SharedMemory.create()
    theirs = SharedMemory(file)
    os.close(file)
    assert (ours.put(b"pixels"), theirs.get(6), theirs.begun) == (True, bytearray(b"pixels"), False)
    theirs.begun = True
    assert (ours.begun, theirs.get(6)) == (True, bytearray(b"pixels"))


def test_what_is_too_large_is_left_to_the_socket_and_no_length_is_believed() -> None:
    file, memory = SharedMemory.create()
    os.close(file)
    assert (memory.put(bytes(SIZE - 1)), memory.put(bytes(SIZE))) == (True, False)
    for length in (-1, SIZE):
        with pytest.raises(ValueError, match="not in this memory"):
            memory.get(length)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux alone can seal it")
def test_no_side_can_take_memory_from_the_other() -> None:
    file, _ = SharedMemory.create()
    with pytest.raises(PermissionError):
        os.ftruncate(file, 0)
    os.close(file)


def test_it_is_no_larger_than_files_may_be() -> None:
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({2**20}, {resource.RLIM_INFINITY}))
from umbel.decoding.shared import SharedMemory
memory = SharedMemory.create()[1]
print(memory.put(bytes({2**20 - 1})), memory.put(bytes({2**20})))
"""
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.split() == ["True", "False"]
