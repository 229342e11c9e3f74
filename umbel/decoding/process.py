"""A decoder's process as its parent sees it: started, sent to, received from, ended."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, Self

from umbel.base.settings import process_environment
from umbel.decoding.child import LENGTHS, START
from umbel.decoding.sandbox import clean_environment

EXIT_SECONDS = 1.0  # for a child that has closed its socket to exit


class Ended(Exception):
    """A child has ended. how: in words. late: because it took too long."""

    def __init__(self, how: str, *, late: bool = False) -> None:
        super().__init__(how)
        self.how, self.late = how, late


class ChildProcess:
    """A decoding process and the socket to it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        connection: socket.socket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.process = process
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
        theirs.setblocking(True)  # Celery sets a default timeout in this process while it stops: it is not the child's
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", START, str(theirs.fileno()), json.dumps(sys.path),
                    stdin=asyncio.subprocess.DEVNULL, pass_fds=[theirs.fileno()],
                    env=clean_environment(process_environment()),
                )  # fmt: skip
            except OSError:
                ours.close()
                raise
        child = cls(process, ours, *await asyncio.open_unix_connection(sock=ours, limit=2**20))
        child.send(greeting)
        return child

    def send(self, message: bytes, files: Sequence[int] = ()) -> None:
        """Send a message, and copies of open files with its first bytes. What fails is seen in `receive`."""
        if files:
            with suppress(OSError):  # an idle child: nothing else is on its way
                socket.send_fds(self._socket, [message[: LENGTHS.size]], files)
            message = message[LENGTHS.size :]
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
        """The child's next message. Raises Ended if it ends first or takes longer than `seconds`."""
        timer = asyncio.get_running_loop().call_later(seconds, self._expire)
        try:
            head, body = LENGTHS.unpack(await self._reader.readexactly(LENGTHS.size))
            message = bytearray(await self._reader.readexactly(head + body))  # writable, as torch wants pixels
            return json.loads(message[:head]), message[head:]
        except (EOFError, OSError):
            end = await self.end()
            raise Ended(f"took more than {seconds:g} s", late=True) if end.late else end from None
        finally:
            timer.cancel()

    def _expire(self) -> None:
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
