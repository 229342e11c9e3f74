"""Decoding in child processes: a picture that crashes, hangs or bloats a decoder costs itself and nobody else."""

import asyncio
import pickle
import threading
from collections import deque
from concurrent.futures import Future
from enum import Enum, auto
from typing import Any, Self

import structlog

from ml.preprocess import Preprocessing
from ml.threads import decoding_processes
from umbel.base.errors import DecoderDied, TransientError
from umbel.base.image_rules import ImageInfo
from umbel.base.settings import Settings
from umbel.base.types import ImageSignature, Pixels
from worker.decoder_process import DecoderProcess, Task
from worker.decoding_child import Decode, frame

log = structlog.get_logger()

ATTEMPTS = 3  # at handing over one picture, when children die before they begin with it
FAILED_STARTS = 3  # in a row, before those who wait are told
PAUSE_SECONDS = 1.0  # before the next start after a failed one


class Turn(Enum):
    """Whose turn it is, the first first."""

    URGENT = auto()  # somebody waits for it
    QUICK = auto()  # a header to read
    BATCH = auto()


class DecoderPool:
    """umbel.base.types.Decoder on `decoding_processes` children, each replaced when it dies. Any thread may use it."""

    def __init__(self, preprocessing: Preprocessing, settings: Settings, *, decode: Decode | None = None) -> None:
        """Returns before the children are up; pictures can be brought at once.

        preprocessing: what makes pixels of a picture; `fitted` gives a decoder with another.
        decode: file bytes → pixels, instead of any preprocessing's; the children import it by its name.
        """
        self._preprocessing = "" if decode else preprocessing.model_dump_json()
        self._children = _Children(decode, settings)
        self._open = True
        self._door = threading.Lock()  # nothing may be brought to the loop after it was told to end
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="decoders", daemon=True)
        self._thread.start()

    def decode(self, image: bytes | str, *, urgent: bool = False) -> Future[Pixels]:
        """Pixels of file bytes, or of the blob with this key, which the child reads. Never blocks.

        urgent: before all that are not; it waits at most for a picture that a child has in hand.
        The future raises ImageError, TransientError (blob store), DecoderDied.
        """
        return self._decode(image, self._preprocessing, urgent)

    def fitted(self, preprocessing: Preprocessing) -> "FittedDecoder":
        """A decoder on these children that makes pixels for another model."""
        return FittedDecoder(self, preprocessing)

    def inspect(self, data: bytes) -> Future[ImageInfo]:
        """Type and size of the picture in these file bytes, from its header; before pictures to decode that are not
        urgent, since it takes a fraction of their time. Otherwise as `decode`."""
        return self._bring(Task(frame(["inspect"], data)), Turn.QUICK)

    def signature(self, blob_key: str) -> Future[ImageSignature]:
        """The signature of the picture in this blob. Otherwise as `decode`."""
        return self._bring(Task(frame(["signature of blob", blob_key])), Turn.BATCH)

    def pids(self) -> list[int]:
        """The children, as they are now."""
        return [child.pid for child in list(self._children.living)]

    def close(self) -> None:
        """End the children, and return when they have ended. What they have not finished raises TransientError."""
        with self._door:
            if self._open:
                self._open = False
                self._loop.call_soon_threadsafe(self._children.close)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode(self, image: bytes | str, preprocessing: str, urgent: bool) -> Future[Pixels]:
        turn = Turn.URGENT if urgent else Turn.BATCH
        if isinstance(image, str):
            return self._bring(Task(frame(["decode blob", preprocessing, image])), turn)
        return self._bring(Task(frame(["decode", preprocessing], image)), turn)

    def _bring(self, task: Task, turn: Turn) -> Future[Any]:
        with self._door:
            if self._open:
                self._loop.call_soon_threadsafe(self._children.accept, task, turn)
            else:
                task.future.set_exception(TransientError("The decoders are closed."))
        return task.future

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._children.serve())
        finally:
            self._loop.close()


class FittedDecoder:
    """umbel.base.types.Decoder on a pool's children, with a preprocessing of its own."""

    def __init__(self, pool: DecoderPool, preprocessing: Preprocessing) -> None:
        self.inspect, self.signature = pool.inspect, pool.signature
        self._pool, self._preprocessing = pool, preprocessing.model_dump_json()

    def decode(self, image: bytes | str, *, urgent: bool = False) -> Future[Pixels]:
        """As `DecoderPool.decode`."""
        return self._pool._decode(image, self._preprocessing, urgent)


class _Children:
    """The children, and the pictures that wait for one. All on the loop's thread, so nothing needs a lock."""

    def __init__(self, decode: Decode | None, settings: Settings) -> None:
        self.living: list[DecoderProcess] = []
        self._settings = settings
        self._greeting = frame([], pickle.dumps((decode, settings)))
        self._waiting: dict[Turn, deque[Task]] = {turn: deque() for turn in Turn}
        self._free: list[DecoderProcess] = []
        self._failed_starts = 0
        self._closing = False
        self._over = asyncio.Event()

    async def serve(self) -> None:
        """Until closed and all children have ended."""
        for _ in range(decoding_processes(self._settings)):
            self._start()
        await self._over.wait()

    def accept(self, task: Task, turn: Turn) -> None:
        """Take a picture in."""
        self._waiting[turn].append(task)
        self._hand_out()

    def close(self) -> None:
        """Give up what waits, and kill the children: they hold nothing that could be lost."""
        self._closing = True
        self._refuse_waiting("The decoders were closed.")
        for child in self.living:
            child.kill()
        if not self.living:
            self._over.set()

    # What a child reports.

    def freed(self, child: DecoderProcess) -> None:
        """It can take a task."""
        self._failed_starts = 0
        self._free.append(child)
        self._hand_out()

    def lost(self, child: DecoderProcess) -> None:
        """It takes no more tasks, and will end."""
        if child in self._free:
            self._free.remove(child)

    def ended(self, child: DecoderProcess, how: str) -> None:
        """It has ended, perhaps with a task in hand; another takes its place."""
        self.living.remove(child)
        if child.task:
            self._take_back(child.task, how, late=child.late)
        if self._closing:
            if not self.living:
                self._over.set()
        elif child.ready:
            log.warning("decoder replaced", pid=child.pid, how=how)
            self._start()
        else:
            self._start_failed(how)

    # ---

    def _start(self) -> None:
        if self._closing:
            return
        try:
            self.living.append(DecoderProcess(self, self._settings, self._greeting))
        except OSError as error:
            self._start_failed(f"cannot be started: {error}")

    def _start_failed(self, how: str) -> None:
        """Try again soon. Once it looks as if that were of no use, whoever waits is told."""
        self._failed_starts += 1
        log.error("decoder does not start", how=how)
        if self._failed_starts >= FAILED_STARTS and not any(child.ready for child in self.living):
            self._refuse_waiting(f"No decoder starts; the last one {how}.")
        asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._start)

    def _hand_out(self) -> None:
        while self._free and (task := self._next()):
            self._free.pop().take(task)  # the one that was busy last: its memory is warm

    def _next(self) -> Task | None:
        """The next that its caller has not cancelled."""
        for queue in self._waiting.values():
            while queue:
                task = queue.popleft()
                if task.attempts or task.future.set_running_or_notify_cancel():
                    return task
        return None

    def _take_back(self, task: Task, how: str, *, late: bool) -> None:
        """What its child left undone: the picture's fault if the child had begun with it, else nobody's."""
        if self._closing:
            task.future.set_exception(TransientError("The decoders were closed."))
        elif task.begun:
            task.future.set_exception(DecoderDied(f"The decoder of this picture {how}."))
        elif late or task.attempts >= ATTEMPTS:
            task.future.set_exception(TransientError(f"The decoder {how} before it had the picture's bytes."))
        else:
            self._waiting[Turn.URGENT].appendleft(task)  # it has waited already
            self._hand_out()

    def _refuse_waiting(self, why: str) -> None:
        while task := self._next():
            task.future.set_exception(TransientError(why))
