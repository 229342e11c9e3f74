"""A decoder's process as its parent sees it: started, sent to, received from, ended."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, Self

from umbel.base.settings import process_environment
from umbel.decoding.child import START, START_OF_FRAME
from umbel.decoding.sandbox import clean_environment
from umbel.decoding.shared import SharedMemory

EXIT_SECONDS = 1.0  # for a child that has closed its socket to exit


class Ended(Exception):
    """A child has ended. how: in words. late: because it took too long."""

    def __init__(self, how: str, *, late: bool = False) -> None:
        super().__init__(how)
        self.how, self.late = how, late


class ChildProcess:
    """A decoding process, the socket to it, and the memory that it shares."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        connection: socket.socket,
        memory: SharedMemory,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.process = process
        self.memory = memory
        self._socket = connection
        self.ended = asyncio.ensure_future(process.wait())
        self.ready = False
        self._late = False  # it has been killed for taking too long
        self._reader, self._writer = reader, writer

    @classmethod
    async def start(cls, greeting: bytes) -> Self:
        """Start a child with the import path of this process, and send it its first frame. Raises OSError.

        Of the environment it gets nothing that is secret, and of the open files none.
        """
        ours, theirs = socket.socketpair()
        shared, memory = SharedMemory.create()
        theirs.setblocking(True)  # Celery sets a default timeout in this process while it stops: it is not the child's
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", START, f"{theirs.fileno()} {shared}", json.dumps(sys.path),
                    stdin=asyncio.subprocess.DEVNULL, pass_fds=[theirs.fileno(), shared],
                    env=clean_environment(process_environment()),
                )  # fmt: skip
            except OSError:
                ours.close()
                raise
            finally:
                os.close(shared)
        child = cls(process, ours, memory, *await asyncio.open_unix_connection(sock=ours, limit=2**20))
        child.send(greeting)
        return child

    def send(self, message: bytes, files: Sequence[int] = ()) -> None:
        """Send a message, and copies of open files with its first bytes. What fails is seen in `receive`."""
        if files:
            with suppress(OSError):  # an idle child: nothing else is on its way
                socket.send_fds(self._socket, [message[: START_OF_FRAME.size]], files)
            message = message[START_OF_FRAME.size :]
        self._writer.write(message)

    async def send_parts(self, parts: AsyncIterator[bytes]) -> None:
        """Send the parts of a message's body. Raises Ended, and what `parts` raises, after which the child is dead."""
        try:
            async for part in parts:
                self._writer.write(part)
                await self._writer.drain()
        except OSError:
            raise await self.end() from None
        except BaseException:
            self.kill()  # what it has is the beginning of a message
            raise

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()

    async def receive(self, seconds: float) -> tuple[list[Any], bytearray]:
        """The child's next message. Raises Ended if it ends first or takes longer than `seconds`.

        That long it may take until it has a task's bytes, and that long for the rest.
        """
        self._expire_later(seconds, last=False)
        try:
            head, size, shared = START_OF_FRAME.unpack(await self._reader.readexactly(START_OF_FRAME.size))
            header = json.loads(await self._reader.readexactly(head))
            # A bytearray is writable, as torch wants pixels.
            return header, self.memory.get(size) if shared else bytearray(await self._reader.readexactly(size))
        except (EOFError, OSError):
            end = await self.end()
            raise Ended(f"took more than {seconds:g} s", late=True) if end.late else end from None
        except ValueError:  # no message of ours: a picture has taken the process over
            self.kill()
            raise await self.end() from None
        finally:
            self._timer.cancel()

    def _expire_later(self, seconds: float, *, last: bool) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire, seconds, last)

    def _expire(self, seconds: float, last: bool) -> None:
        if self.memory.begun and not last:
            self._expire_later(seconds, last=True)
            return
        self._late = True
        self.kill()

    async def end(self) -> Ended:
        """How the child ended; a child that has closed its socket and does not exit is killed."""
        done, _ = await asyncio.wait({self.ended}, timeout=EXIT_SECONDS)
        if not done:
            self.kill()
        code = await self.ended
        self._writer.close()
        return Ended(_describe(code), late=self._late or code == -signal.SIGALRM)


def _describe(code: int) -> str:
    """A process's end in words, from its exit code as subprocess gives it."""
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-code}"
