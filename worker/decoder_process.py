"""One decoding child as its parent sees it: a process, a socket, and at most one picture in hand."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
from prometheus_client import Histogram

from umbel.base import errors, tracing
from umbel.base.errors import DecoderDied
from umbel.base.image_rules import ImageInfo
from umbel.base.metrics import DECODES, READS
from umbel.base.settings import Settings
from umbel.base.types import ImageSignature
from worker.decoding_child import LENGTHS, START

START_SECONDS = 60.0  # for a child to come up: imports from a cold disk
EXIT_SECONDS = 1.0  # for a child that has closed its socket to be gone


@dataclass(eq=False, slots=True)
class Task:
    """A picture on its way. begun: a child has its bytes and decodes; what becomes of the child is its doing now."""

    message: bytes
    future: Future[Any] = field(default_factory=Future)
    attempts: int = 0
    begun: bool = False
    traceparent: str | None = field(default_factory=tracing.inside)
    since: float = 0.0  # perf_counter when a child took it, then when it had the bytes


class Keeper(Protocol):
    """Who is told what becomes of a child."""

    def freed(self, child: "DecoderProcess") -> None:
        """It can take a task."""

    def lost(self, child: "DecoderProcess") -> None:
        """It takes no more tasks, and will end."""

    def ended(self, child: "DecoderProcess", how: str) -> None:
        """It has ended; its task, if any, is left undone."""


class DecoderProcess(asyncio.Protocol):
    """A child and its task. Everything runs on the thread of the event loop.

    The child is a new interpreter, not a fork: forking a process that has torch and threads is not safe.
    """

    def __init__(self, keeper: Keeper, settings: Settings, greeting: bytes) -> None:
        """To be called on the loop's thread. greeting: the child's first frame. Raises OSError."""
        self.task: Task | None = None
        self.ready = False
        self.late = False
        self._keeper = keeper
        self._settings = settings
        self._greeting = greeting
        self._heard = bytearray()
        self._patience = START_SECONDS
        self._loop = asyncio.get_running_loop()
        self._process, connection = _spawn()
        self._clock = self._loop.call_later(self._patience, self._expire)
        self._coming = self._loop.create_task(self._loop.create_unix_connection(lambda: self, sock=connection))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def take(self, task: Task) -> None:
        """Hand over a task; only to a child that is free."""
        self.task = task
        task.attempts += 1
        task.since = time.perf_counter()
        self._give_time()
        self._transport.write(task.message)

    def kill(self) -> None:
        """SIGKILL. `ended` follows."""
        self._process.kill()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while len(self._heard) >= LENGTHS.size:
            said, body = LENGTHS.unpack_from(self._heard)
            start, end = LENGTHS.size + said, LENGTHS.size + said + body
            if len(self._heard) < end:
                return
            answer = json.loads(self._heard[LENGTHS.size : start])
            body = self._heard[start:end]
            del self._heard[:end]
            self._hear(answer, body)

    def connection_lost(self, _: Exception | None) -> None:
        self._clock.cancel()
        self._keeper.lost(self)
        self._ending = self._loop.create_task(self._end())

    # ---

    def _hear(self, answer: list[Any], body: bytearray) -> None:
        if answer == ["begun"] and self.task:
            self.task.begun = True
            self._time(READS, "read", self.task)
            self._give_time()
            return
        self._clock.cancel()
        if answer == ["ready"]:
            self.ready = True
        elif self.task:
            if answer[0] == "pixels":
                self._time(DECODES, "decode", self.task)
            self._settle(self.task.future, answer, body)
            self.task = None
        self._keeper.freed(self)

    def _time(self, times: Histogram, step: str, task: Task) -> None:
        """Keep the time of the step that has just ended; the next one begins."""
        began, task.since = task.since, time.perf_counter()
        times.observe(task.since - began)
        tracing.record(step, task.traceparent, task.since - began)

    def _settle(self, future: Future[Any], answer: list[Any], body: bytearray) -> None:
        match answer:
            case ["pixels", *shape]:
                future.set_result(np.frombuffer(body, np.uint8).reshape(shape))
            case ["info", media_type, width, height]:
                future.set_result(ImageInfo(media_type, width, height))
            case ["signature", sharpness, *shape]:
                future.set_result(ImageSignature(sharpness, np.frombuffer(body, np.uint8).reshape(shape)))
            case ["error", name, detail]:
                future.set_exception(getattr(errors, name)(detail))
            case ["out of memory"]:
                mebibytes = self._settings.decode_memory >> 20
                future.set_exception(DecoderDied(f"The decoder of this picture needed more than {mebibytes:,} MiB."))
            case ["failure", text]:
                future.set_exception(RuntimeError(text))

    def _give_time(self) -> None:
        self._patience = self._settings.decode_seconds
        self._clock.cancel()
        self._clock = self._loop.call_later(self._patience, self._expire)

    def _expire(self) -> None:
        self.late = True
        self._process.kill()

    async def _end(self) -> None:
        # One that has closed its socket and lives on is of no use.
        self._clock = self._loop.call_later(EXIT_SECONDS, self._process.kill)
        code = await self._loop.run_in_executor(None, self._process.wait)
        self._clock.cancel()
        self.late |= code == -signal.SIGALRM
        self._keeper.ended(self, f"took more than {self._patience:g} s" if self.late else _how(code))


def _spawn() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A child, and the socket to talk to it. It gets the import path of this process."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            command = [sys.executable, "-c", START, str(theirs.fileno()), json.dumps(sys.path)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)
    return process, ours


def _how(code: int) -> str:
    """A process's end in words, from its exit code as subprocess gives it."""
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-code}"
