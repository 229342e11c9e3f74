"""Pictures that people name on the command line: files, and pipes (`<(…)`, /dev/stdin, FIFOs), which are read once."""

import os
import select
import stat
from pathlib import Path

from cli.config import settings
from umbel.base.errors import Unreadable

FIRST_BYTE_SECONDS = 10.0  # for the program at the other end to begin
CHUNK = 2**20


def is_pipe(path: Path) -> bool:
    """Whether the path is neither file nor folder but something that can only be read once. Raises OSError."""
    mode = path.stat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def content_of(path: Path) -> bytes:
    """The bytes of a picture, from a pipe too. Raises OSError, and Unreadable for a pipe that gives nothing."""
    return read_pipe(path) if is_pipe(path) else path.read_bytes()


def read_pipe(path: Path) -> bytes:
    """All that a pipe gives, but no more than just above `max_bytes`, which the service refuses."""
    data, most = bytearray(), settings().max_bytes + 1
    # Without waiting for a writer: there may be none.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
        while len(data) < most:
            if not select.select([pipe], [], [], None if data else FIRST_BYTE_SECONDS)[0]:
                raise Unreadable(f"{path}: Nothing came within {FIRST_BYTE_SECONDS:g} seconds.")
            if not (chunk := os.read(pipe.fileno(), min(CHUNK, most - len(data)))):
                break
            data += chunk
    if not data:
        raise Unreadable(f"{path}: It holds nothing.")
    return bytes(data)
