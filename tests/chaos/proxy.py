"""A TCP proxy that can delay, hold, reset, refuse, or lose the reply of one command.

Its connections live on one asyncio loop in a thread; the faults are called from any other thread. A partition holds the
bytes and lets them through when it heals, as TCP's retransmission would.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Self

from tests.chaos.spies import Spy

CHUNK = 65_536


@dataclass(slots=True)
class Drop:
    """Lose the replies of the next `count` commands called `command`: they are executed, and the client gets no answer.

    `silently`: the connection stays open and says nothing any more, so that the client runs into its time-out.
    """

    command: str
    count: int
    silently: bool


@dataclass(slots=True, eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    spy: Spy | None
    asked: list[str] = field(default_factory=list)
    mute: bool = False

    def reset(self) -> None:
        for writer in (self.client, self.server):
            reset(writer)


class Proxy:
    """Stands at `port`, any free one, before whatever listens on `upstream` of this machine."""

    def __init__(self, loop: "Loop", upstream: int, spy: Callable[[], Spy] | None) -> None:
        self.upstream = upstream
        self.latency = 0.0
        self.refusing = False
        self.dropped = 0
        self._loop = loop
        self._spy = spy
        self._drops: list[Drop] = []
        self._open: set[_Connection] = set()
        self._gate = asyncio.Event()
        self._gate.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1")
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def connections(self) -> int:
        return len(self._open)

    def partition(self) -> None:
        """Nothing passes from here on, and no new connection gets an answer."""
        self._loop.run(self._partition())

    def reset(self) -> None:
        """End every connection with a reset."""
        self._loop.run(self._reset())

    def drop_reply(self, command: str, *, count: int = 1, silently: bool = False) -> None:
        """Lose the replies of the next commands of this name."""
        self._drops.append(Drop(command, count, silently))

    def heal(self) -> None:
        """No fault any more; what was held passes, and a connection that was silenced is reset."""
        self.latency, self.refusing = 0.0, False
        self._drops.clear()
        self._loop.run(self._heal())

    async def _partition(self) -> None:
        self._gate.clear()

    async def _heal(self) -> None:
        self._gate.set()
        await self._reset(only_mute=True)

    async def _reset(self, *, only_mute: bool = False) -> None:
        for connection in list(self._open):
            if connection.mute or not only_mute:
                connection.reset()

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connect(reader, client)
        except OSError:
            reset(client)
        finally:
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        await self._gate.wait()
        if self.refusing:
            reset(client)
            return
        answers, server = await asyncio.open_connection("127.0.0.1", self.upstream)
        connection = _Connection(client, server, self._spy() if self._spy else None)
        self._open.add(connection)
        both = [
            asyncio.create_task(self._requests(connection, reader)),
            asyncio.create_task(self._replies(connection, answers)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            self._open.discard(connection)
            client.close()
            server.close()

    async def _requests(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(CHUNK):
            await self._hold()
            if connection.spy:
                connection.asked = connection.spy.feed(data)
            connection.server.write(data)
            await connection.server.drain()

    async def _replies(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(CHUNK):
            await self._hold()
            drop = self._to_drop(connection, data)
            if drop and not drop.silently:
                connection.reset()
                return
            connection.mute = connection.mute or drop is not None
            if not connection.mute:
                connection.client.write(data)
                await connection.client.drain()

    async def _hold(self) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)
        await self._gate.wait()

    def _to_drop(self, connection: _Connection, reply: bytes) -> Drop | None:
        if not self._drops or connection.spy is None or not connection.spy.matters(reply):
            return None
        drop = next((one for one in self._drops if one.count > 0 and one.command in connection.asked), None)
        if drop:
            drop.count -= 1
            self.dropped += 1
        return drop

    async def close(self) -> None:
        self._server.close()
        self._gate.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Loop:
    """The thread that all proxies share."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._proxies: list[Proxy] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self._proxies:
            self.run(proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def proxy(self, upstream: int, *, spy: Callable[[], Spy] | None = None) -> Proxy:
        """A proxy that listens at once."""
        proxy = Proxy(self, upstream, spy)
        self.run(proxy.listen())
        self._proxies.append(proxy)
        return proxy

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)
