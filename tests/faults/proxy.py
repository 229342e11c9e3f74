"""A TCP port that leads to a server, and a hand that cuts the wires."""

import asyncio
import random
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

LOOK_SECONDS = 0.05


class Proxy:
    """Passes bytes between a port on the loopback and a server, until told otherwise.

    server: its Unix socket, or its address and port. host: the loopback address to listen on; port: 0 for a free one.
    """

    def __init__(self, server: Path | tuple[str, int], *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._target = server
        self._wires: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._refusing = False
        self._delay: float | None = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy of {server}", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._passed, host, port))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def open(self) -> int:
        """How many connections pass through now."""
        return len(self._wires)

    def cut(self, rng: random.Random, share: float = 1) -> int:
        """Break that share of the connections off, as a reset on both sides. Returns how many."""
        return self._call(self._cut(rng, share))

    def refuse(self, refusing: bool = True) -> None:
        """Break off every new connection at once, or no longer."""
        self._refusing = refusing

    def slow(self, seconds: float | None) -> None:
        """Wait so long before each piece that passes; None: as long as it takes, until told otherwise."""
        self._delay = seconds

    def close(self) -> None:
        self._call(self._cut(random.Random(0), 1))
        self._call(self._closed())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work):  # type: ignore[no-untyped-def]  # what it returns is what `work` returns
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _cut(self, rng: random.Random, share: float) -> int:
        doomed = rng.sample(sorted(self._wires, key=id), round(share * len(self._wires)))
        for wire in doomed:
            for end in wire:
                end.transport.abort()
        return len(doomed)

    async def _closed(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _passed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await self._connected()
        except OSError:
            writer.transport.abort()
            return
        wire = (writer, server_writer)
        self._wires.add(wire)
        with suppress(asyncio.CancelledError):  # this proxy is being closed
            await asyncio.gather(self._pumped(reader, server_writer), self._pumped(server_reader, writer))
        self._wires.discard(wire)
        for end in wire:
            end.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    async def _pumped(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                while self._delay is None:
                    await asyncio.sleep(LOOK_SECONDS)
                await asyncio.sleep(self._delay)
                writer.write(data)
                await writer.drain()
        with suppress(OSError):
            writer.close()  # one end gone is both gone: neither Postgres nor Redis goes on with half a connection
