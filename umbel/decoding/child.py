"""A child process that decodes images: tasks come through a socket, one at a time, until the parent closes it.

An image that crashes, hangs or bloats its decoder ends this process and nothing else, and one that takes it over finds
nothing in it: see sandbox.py. No torch is imported here, so that a child starts quickly and is small. Answers are JSON
and raw pixels, never pickles: they come from a process that reads hostile files.
"""

import errno
import io
import json
import math
import os
import pickle
import resource
import signal
import socket
import struct
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from umbel.base import errors
from umbel.base.errors import StorageFull, UmbelError
from umbel.base.malloc import keep_blocks
from umbel.base.types import ImageInfo
from umbel.decoding.images import inspect, write_published, write_thumbnail
from umbel.decoding.limits import DecoderLimits, Limits
from umbel.decoding.opening import import_decoders
from umbel.decoding.sandbox import confine
from umbel.decoding.shared import SharedMemory

START_OF_FRAME = struct.Struct("!II?")  # lengths of its two parts, JSON and bytes; whether these are in shared memory
FILES = 2  # that may come with a frame: the image to read, and one to write to
WRITTEN = 2**20  # bytes at a time
# For the child's command line. A signal to all processes of a worker lets it finish its batch, so the children ignore
# the signal (before the slow imports) and wait for the end of the socket.
START = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.path[:] = json.loads(sys.argv[2])
from umbel.decoding.child import main
main(*map(int, sys.argv[1].split()))
"""
GRACE_SECONDS = 1  # after its time, until a child that its parent has not killed ends itself

Answer = tuple[list[Any], bytes]  # what goes into JSON, and bytes
# Of a file's bytes, the limits, the number of the file to write to if the task has one, and the task's arguments.
Job = Callable[..., Answer]


def _inspect(data: bytes, limits: Limits) -> Answer:
    return told(inspect(data, limits)), b""


def told(info: ImageInfo) -> list[Any]:
    """What a picture is, for JSON: the fields of an ImageInfo in their order."""
    return [info.media_type, info.width, info.height, info.note]


def _written(write: Callable[[bytes, Limits, BinaryIO], None], data: bytes, limits: Limits, file: int) -> Answer:
    with io.BufferedWriter(_Sink(file), WRITTEN) as out:
        write(data, limits, out)
    return [], b""


class _Sink(io.RawIOBase):
    """An open file that does not tell its number: Pillow would write to it itself and not say why it could not."""

    def __init__(self, file: int) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        return os.write(self._file, data)


JOBS: dict[str, Job] = {
    "inspect": _inspect,
    "thumbnail": partial(_written, write_thumbnail),
    "published": partial(_written, write_published),
}


def frame(
    header: list[Any], body: bytes = b"", *, length: int | None = None, memory: SharedMemory | None = None
) -> bytes:
    """One message. length: of a body that follows. memory: takes a body that fits, which is then not in the frame."""
    head = json.dumps(header).encode()
    size = len(body) if length is None else length
    if memory and body and memory.put(body):
        return START_OF_FRAME.pack(len(head), size, True) + head
    return b"".join((START_OF_FRAME.pack(len(head), size, False), head, body))


def main(descriptor: int, shared: int) -> None:
    """Serve the socket until its other end is closed.

    The first frame holds the limits, and jobs that it can be given besides JOBS.
    """
    memory = SharedMemory(shared)
    os.close(shared)
    with socket.socket(fileno=descriptor) as connection:
        try:
            _, body, _ = _receive(connection, memory)
            jobs, limits = pickle.loads(body)
            Child(connection, memory, JOBS | jobs, limits).serve()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return  # the parent is gone, or has closed the pool


class Child:
    """The process between two tasks."""

    def __init__(
        self, connection: socket.socket, memory: SharedMemory, jobs: Mapping[str, Job], limits: DecoderLimits
    ) -> None:
        self._connection = connection
        self._memory = memory
        self._jobs = jobs
        self._limits = limits
        import_decoders()
        keep_blocks()
        limit_memory(limits.decode_memory)
        self._protection = confine(files=FILES)

    def serve(self) -> None:
        """Answer task after task. Returns when this process should be replaced; raises EOFError at the end."""
        self._send(["ready", self._protection])
        fit = True
        while fit:
            (job, by_file, *arguments), data, files = _receive(self._connection, self._memory)
            try:
                with ExitStack() as opened:
                    for file in files:
                        opened.callback(os.close, file)
                    self._connection.sendall(self._answer(self._jobs[job], by_file, arguments, data, files))
            except UmbelError as error:
                fit = not _ran_out_of_memory(error)
                self._send(_error_message(error))
            except MemoryError:
                fit = False
                self._send(["out of memory"])
            except Exception as error:
                self._send(_error_message(error))
            signal.alarm(0)

    def _answer(self, job: Job, by_file: bool, arguments: list[Any], data: bytes, files: Sequence[int]) -> bytes:
        """by_file: the image is the first of `files`, its bytes have not been sent."""
        self._set_alarm()
        if by_file:
            data, files = _contents(files[0]), files[1:]
        self._set_alarm()
        began, self._memory.begun = time.perf_counter(), True
        header, body = job(data, self._limits, *files, *arguments)
        return frame(["done", time.perf_counter() - began, *header], body, memory=self._memory)

    def _send(self, header: list[Any]) -> None:
        self._connection.sendall(frame(header))

    def _set_alarm(self) -> None:
        """End this process if it takes too long: a hanging one does not see that its parent is gone."""
        signal.alarm(math.ceil(self._limits.decode_seconds) + GRACE_SECONDS)


def limit_memory(more: int) -> None:
    """Let this process grow by at most `more` bytes; does nothing where the system cannot.

    The limit is on address space, since Linux ignores the one on resident memory (RLIMIT_RSS). Libraries reserve much
    more of it than they use, so what is reserved already does not count. Images of 40 megapixels needed up to 1.5 GiB.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return  # not Linux; macOS takes such a limit and does not keep it
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _receive(connection: socket.socket, memory: SharedMemory) -> tuple[list[Any], bytes, list[int]]:
    """The next frame, and the files that came with it."""
    start, files, _, _ = socket.recv_fds(connection, START_OF_FRAME.size, FILES)
    missing = START_OF_FRAME.size - len(start)
    head, size, shared = START_OF_FRAME.unpack(start + _exactly(connection, missing))
    header = json.loads(_exactly(connection, head))
    return header, bytes(memory.get(size)) if shared else _exactly(connection, size), files


def _exactly(connection: socket.socket, size: int) -> bytes:
    """Raises EOFError."""
    parts = []
    while size:
        part = connection.recv(size, socket.MSG_WAITALL)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _contents(file: int) -> bytes:
    with os.fdopen(file, "rb", buffering=0, closefd=False) as stream:
        return stream.read()


def _error_message(error: Exception) -> list[Any]:
    """One of Umbel's errors by its name; any other as text, since the parent may not know its class."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        error = StorageFull("There is no room for the picture that was to be written.")
    name = type(error).__name__
    if isinstance(error, UmbelError) and getattr(errors, name, None) is type(error):
        return ["error", name, error.detail]
    return ["failure", "".join(traceback.format_exception(error))]


def _ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error was caused by a MemoryError, after which other parts of the process may be broken too."""
    cause = error.__cause__
    return isinstance(error, MemoryError) or (cause is not None and _ran_out_of_memory(cause))
