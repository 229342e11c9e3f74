"""A child process that decodes images: tasks come through a socket, one at a time, until the parent closes it.

An image that crashes, hangs or bloats its decoder ends this process and nothing else. No torch is imported here, so
that a child starts quickly and is small. Answers are JSON and raw pixels, never pickles: they come from a process that
reads hostile files.
"""

import json
import math
import pickle
import resource
import signal
import socket
import struct
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import obstore
from obstore.store import MemoryStore

from umbel.base import errors
from umbel.base.blobs import Blobs
from umbel.base.errors import UmbelError
from umbel.base.malloc import keep_blocks
from umbel.base.settings import Settings
from umbel.decoding.images import inspect, published, thumbnail

LENGTHS = struct.Struct("!II")  # of a frame's two parts: JSON, and bytes
# For the child's command line. A signal to all processes of a worker lets it finish its batch, so the children ignore
# the signal (before the slow imports) and wait for the end of the socket.
START = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.path[:] = json.loads(sys.argv[2])
from umbel.decoding.child import main
main(int(sys.argv[1]))
"""
GRACE_SECONDS = 1  # after its time, until a child that its parent has not killed ends itself

Answer = tuple[list[Any], bytes]  # what goes into JSON, and bytes
Job = Callable[..., Answer]  # of a file's bytes, the settings, and the task's arguments


def _inspect(data: bytes, settings: Settings) -> Answer:
    info = inspect(data, settings)
    return [info.media_type, info.width, info.height, info.note], b""


def _thumbnail(data: bytes, settings: Settings) -> Answer:
    return [], thumbnail(data, settings)


def _published(data: bytes, settings: Settings) -> Answer:
    shown, media_type = published(data, settings)
    return [media_type], shown


JOBS: dict[str, Job] = {"inspect": _inspect, "thumbnail": _thumbnail, "published": _published}


def frame(header: list[Any], body: bytes = b"") -> bytes:
    """One message."""
    head = json.dumps(header).encode()
    return b"".join((LENGTHS.pack(len(head), len(body)), head, body))


def main(descriptor: int) -> None:
    """Serve the socket until its other end is closed.

    The first frame holds the settings, and jobs that it can be given besides JOBS.
    """
    connection = socket.socket(fileno=descriptor)
    with connection, connection.makefile("rb") as stream:
        try:
            _, body = _receive(stream)
            jobs, settings = pickle.loads(body)
            Child(connection, JOBS | jobs, settings).serve(stream)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return  # the parent is gone, or has closed the pool


class Child:
    """The process between two tasks."""

    def __init__(self, connection: socket.socket, jobs: Mapping[str, Job], settings: Settings) -> None:
        self._connection = connection
        self._jobs = jobs
        self._settings = settings
        self._blobs = Blobs(settings.blobs)
        keep_blocks()
        limit_memory(settings.decode_memory)

    def serve(self, stream: BinaryIO) -> None:
        """Answer task after task. Returns when this process should be replaced; raises EOFError at the end."""
        self._send(["ready"])
        fit = True
        while fit:
            (job, blob_key, *arguments), data = _receive(stream)
            try:
                self._connection.sendall(self._answer(self._jobs[job], blob_key, arguments, data))
            except UmbelError as error:
                fit = not _ran_out_of_memory(error)
                self._send(_error_message(error))
            except MemoryError:
                fit = False
                self._send(["out of memory"])
            except Exception as error:
                self._send(_error_message(error))
            signal.alarm(0)

    def _answer(self, job: Job, blob_key: str | None, arguments: list[Any], data: bytes) -> bytes:
        """blob_key: where the file is, if its bytes have not been sent."""
        self._set_alarm()
        if blob_key is not None:
            data = self._blobs.get(blob_key)
        self._set_alarm()
        self._send(["begun"])  # if this process ends from here on, the image is the cause
        header, body = job(data, self._settings, *arguments)
        return frame(["done", *header], body)

    def _send(self, header: list[Any]) -> None:
        self._connection.sendall(frame(header))

    def _set_alarm(self) -> None:
        """End this process if it takes too long: a hanging one does not see that its parent is gone."""
        signal.alarm(math.ceil(self._settings.decode_seconds) + GRACE_SECONDS)


def limit_memory(more: int) -> None:
    """Let this process grow by at most `more` bytes; does nothing where the system cannot.

    The limit is on address space, since Linux ignores the one on resident memory (RLIMIT_RSS). Libraries reserve much
    more of it than they use, so what is reserved already does not count; obstore's threads, one a core with 64 MB
    each, are therefore started first. Images of 40 megapixels needed up to 1.5 GiB.
    """
    with suppress(FileNotFoundError):
        obstore.head(MemoryStore(), "nothing")
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return  # not Linux; macOS takes such a limit and does not keep it
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _receive(stream: BinaryIO) -> tuple[list[Any], bytes]:
    head, body = LENGTHS.unpack(_exactly(stream, LENGTHS.size))
    return json.loads(_exactly(stream, head)), _exactly(stream, body)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _error_message(error: Exception) -> list[Any]:
    """One of Umbel's errors by its name; any other as text, since the parent may not know its class."""
    name = type(error).__name__
    if isinstance(error, UmbelError) and getattr(errors, name, None) is type(error):
        return ["error", name, error.detail]
    return ["failure", "".join(traceback.format_exception(error))]


def _ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error was caused by a MemoryError, after which other parts of the process may be broken too."""
    cause = error.__cause__
    return isinstance(error, MemoryError) or (cause is not None and _ran_out_of_memory(cause))
