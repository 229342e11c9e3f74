"""Decode images in child processes: an image that crashes, hangs or bloats its decoder fails alone.

Each child is a new interpreter, not a fork: forking a process that has torch and threads is not safe.
"""

import asyncio
import pickle
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import Any, BinaryIO, Self, TypeVar

import structlog
from prometheus_client import Histogram

from umbel.base import errors, tracing
from umbel.base.blobs import blobs_of
from umbel.base.errors import BlobMissing, DecoderDied, TransientError
from umbel.base.metrics import DECODES, READS, UNCONFINED
from umbel.base.settings import Settings
from umbel.base.types import ImageInfo
from umbel.decoding.child import Job, frame
from umbel.decoding.limits import DecoderLimits
from umbel.decoding.process import ChildProcess, Ended
from umbel.decoding.sandbox import SECCOMP

log = structlog.get_logger()

ATTEMPTS = 3  # to hand over one image, when children die before they begin with it
FAILED_STARTS = 3  # in a row, before waiting tasks fail
PAUSE_SECONDS = 1.0  # before the next start after a failed one
START_SECONDS = 60.0  # for a child to start: imports from a cold disk
CLOSED = "The decoders were closed."
NO_JOBS: Mapping[str, Job] = {}

T = TypeVar("T")


class Priority(IntEnum):
    """Which task a free child takes first."""

    RETRY = 0  # it has waited already
    URGENT = 1  # a search waits for it
    QUICK = 2  # a header to read
    BATCH = 3


_numbers = count()


@dataclass(order=True)
class Task:
    """One request to a child, ordered by priority and then by age.

    image: file bytes, or the key of a blob.
    """

    priority: Priority
    job: str = field(compare=False)
    arguments: tuple[Any, ...] = field(compare=False)
    image: bytes | str = field(compare=False)
    out: BinaryIO | None = field(compare=False)
    read: Callable[[list[Any], bytearray], Any] = field(compare=False)
    number: int = field(default_factory=lambda: next(_numbers))
    future: Future[Any] = field(default_factory=Future, compare=False)
    attempts: int = field(default=0, compare=False)
    traceparent: str | None = field(default_factory=tracing.inside, compare=False)

    def observe(self, times: Histogram, step: str, seconds: float) -> None:
        """Record the time of a step."""
        times.observe(seconds)
        tracing.record(step, self.traceparent, seconds)


class DecoderPool:
    """Child processes that decode images, each replaced when it dies. Any thread may use it.

    Nothing here blocks. The futures raise ImageError, TransientError (blob store, closing) and DecoderDied.
    """

    def __init__(self, processes: int, settings: Settings, jobs: Mapping[str, Job] = NO_JOBS) -> None:
        """Returns before the children are up; tasks are accepted at once.

        jobs: what else than child.JOBS the children can do, see `submit`; they import these functions by their names.
        """
        self._processes = processes
        self._blobs = blobs_of(settings)
        self._limits = DecoderLimits.of(settings)
        self._greeting = frame([], pickle.dumps((dict(jobs), self._limits)))
        self._protection = ""  # of the newest child
        self._waiting: asyncio.PriorityQueue[Task] = asyncio.PriorityQueue()
        self._children: list[ChildProcess] = []
        self._failed_starts = 0
        self._closing = asyncio.Event()
        self._open = True
        self._lock = threading.Lock()  # no task may reach the loop after it was told to end
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="decoders", daemon=True)
        self._thread.start()

    def inspect(self, data: bytes) -> Future[ImageInfo]:
        """Type and size of the image in these file bytes, and that it decodes.

        It goes before images to decode that are not urgent, since it mostly takes a fraction of their time.
        """
        return self.submit("inspect", data, lambda header, _: ImageInfo(*header), priority=Priority.QUICK)

    def write_thumbnail(self, blob_key: str, out: BinaryIO) -> Future[None]:
        """Have a small JPEG of the image in this blob written to an open file; also raises StorageFull."""
        return self.submit("thumbnail", blob_key, _nothing, out=out, priority=Priority.URGENT)

    def write_published(self, blob_key: str, out: BinaryIO) -> Future[None]:
        """Have the image in this blob written, upright and without metadata; also raises StorageFull."""
        return self.submit("published", blob_key, _nothing, out=out, priority=Priority.URGENT)

    def submit(
        self,
        job: str,
        image: bytes | str,
        read: Callable[[list[Any], bytearray], T],
        *arguments: Any,
        out: BinaryIO | None = None,
        priority: Priority = Priority.BATCH,
    ) -> Future[T]:
        """Have a job done with file bytes, or with the blob of this key.

        read: makes the result of what the job returned. arguments: for the job, as JSON. out: to write to, for the job;
        open until the future is done.
        """
        task = Task(priority, job, arguments, image, out, read)
        with self._lock:
            if self._open:
                self._loop.call_soon_threadsafe(self._waiting.put_nowait, task)
            else:
                task.future.set_exception(TransientError(CLOSED))
        return task.future

    def pids(self) -> list[int]:
        """The process numbers of the children that run now."""
        return [child.process.pid for child in list(self._children)]

    def close(self) -> None:
        """End the children, and return when they have ended. Unfinished tasks raise TransientError."""
        with self._lock:
            if self._open:
                self._open = False
                self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # From here on everything runs on the thread of the event loop.

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        slots = [self._loop.create_task(self._keep_child()) for _ in range(self._processes)]
        await self._closing.wait()
        for child in self._children:
            child.kill()  # it holds nothing that could be lost
        await asyncio.gather(*slots)
        self._fail_waiting(CLOSED)

    async def _keep_child(self) -> None:
        """Run one child after the other until the pool closes."""
        while not self._closing.is_set():
            child = None
            try:
                child = await ChildProcess.start(self._greeting)
                await self._use(child)
            except OSError as error:
                await self._start_failed(f"cannot be started: {error}")
            except Ended as end:
                if self._closing.is_set():
                    return
                if child and child.ready:
                    log.warning("decoder replaced", pid=child.process.pid, how=end.how)
                else:
                    await self._start_failed(end.how)

    async def _use(self, child: ChildProcess) -> None:
        """Hand tasks to a child until it ends. Raises Ended."""
        self._children.append(child)
        try:
            if self._closing.is_set():
                child.kill()
            (_, protection), _ = await child.receive(START_SECONDS)
            child.ready = True
            self._tell(protection)
            self._failed_starts = 0
            while True:
                task = await self._next_task(child)
                try:
                    await self._perform(task, child)
                except Ended as end:
                    self._take_back(task, end, begun=child.memory.begun)
                    raise
        finally:
            self._children.remove(child)

    async def _next_task(self, child: ChildProcess) -> Task:
        """The next task that its caller has not cancelled. Raises Ended if the child ends before there is one."""
        while True:
            if self._waiting.empty():
                arriving = self._loop.create_task(self._waiting.get())
                await asyncio.wait({arriving, child.ended}, return_when=asyncio.FIRST_COMPLETED)
                if not arriving.done():
                    arriving.cancel()
                    raise await child.end()
                task = arriving.result()
            else:
                task = self._waiting.get_nowait()
            if _wanted(task):
                return task

    async def _perform(self, task: Task, child: ChildProcess) -> None:
        """Have the child do a task, and resolve its future. Raises Ended if the child ends first."""
        task.attempts += 1
        child.memory.begun, handed_over = False, time.perf_counter()
        try:
            await self._hand_over(task, child)
        except (BlobMissing, TransientError) as error:
            task.future.set_exception(error)
            return
        answer, body = await child.receive(self._limits.decode_seconds)
        match answer:
            case ["done", seconds, *header]:
                task.observe(READS, "read", time.perf_counter() - handed_over - seconds)
                task.observe(DECODES, "decode", seconds)
                task.future.set_result(task.read(header, body))
            case ["error", name, detail]:
                task.future.set_exception(getattr(errors, name)(detail))
            case ["out of memory"]:
                mebibytes = self._limits.decode_memory >> 20
                task.future.set_exception(DecoderDied(f"The decoder of this image needed more than {mebibytes:,} MiB."))
            case ["failure", text]:
                task.future.set_exception(RuntimeError(text))

    async def _hand_over(self, task: Task, child: ChildProcess) -> None:
        """Send a task; of a blob in a folder the open file, for the child itself can open none.

        Raises BlobMissing, TransientError; Ended if the child ends first.
        """
        files = [] if task.out is None else [task.out.fileno()]
        if isinstance(task.image, bytes):
            child.send(frame([task.job, False, *task.arguments], task.image, memory=child.memory), files)
        elif file := self._blobs.open_file(task.image):
            with file:
                child.send(frame([task.job, True, *task.arguments]), [file.fileno(), *files])
        else:
            await self._hand_through([task.job, False, *task.arguments], task.image, files, child)

    async def _hand_through(self, job: list[Any], blob_key: str, files: list[int], child: ChildProcess) -> None:
        """Send a task with the bytes of a blob as they arrive, so that they are never all in this process."""
        try:
            async with asyncio.timeout(self._limits.decode_seconds):
                size, parts = await self._blobs.stream(blob_key)
                child.send(frame(job, length=size), files)
                await child.send_parts(parts)
        except TimeoutError:
            seconds = self._limits.decode_seconds
            raise TransientError(f"Reading the image's bytes took more than {seconds:g} s.") from None

    def _tell(self, protection: str) -> None:
        """Count what confines the children, and log it when it is another than before."""
        UNCONFINED.set(protection != SECCOMP)
        if protection != self._protection:
            self._protection = protection
            tell = log.info if protection == SECCOMP else log.warning
            tell("decoders are confined", by=protection)

    def _take_back(self, task: Task, end: Ended, *, begun: bool) -> None:
        """Decide on the task of a child that ended: the image is the cause only if the child had begun with it."""
        if self._closing.is_set():
            task.future.set_exception(TransientError(CLOSED))
        elif begun:
            task.future.set_exception(DecoderDied(f"The decoder of this image {end.how}."))
        elif end.late or task.attempts >= ATTEMPTS:
            task.future.set_exception(TransientError(f"The decoder {end.how} before it had the image's bytes."))
        else:
            task.priority = Priority.RETRY
            self._waiting.put_nowait(task)

    async def _start_failed(self, how: str) -> None:
        """Pause before the next start. After several failures in a row, fail the waiting tasks."""
        self._failed_starts += 1
        log.error("decoder does not start", how=how)
        if self._failed_starts >= FAILED_STARTS and not any(child.ready for child in self._children):
            self._fail_waiting(f"No decoder starts; the last one {how}.")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), PAUSE_SECONDS)

    def _fail_waiting(self, reason: str) -> None:
        while not self._waiting.empty():
            if _wanted(task := self._waiting.get_nowait()):
                task.future.set_exception(TransientError(reason))


def _nothing(*_: Any) -> None:
    """The result of a task that has written to a file."""


def _wanted(task: Task) -> bool:
    """Whether the caller has not cancelled the task; it no longer can afterwards."""
    return task.attempts > 0 or task.future.set_running_or_notify_cancel()
