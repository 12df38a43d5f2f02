"""The other ends of the overload run on one event loop: an image host, a good and a slow receiver of webhooks.

Each is at an address of its own, because the notifier counts deliveries by address.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.connection import KeptConnection

PICTURES, GOOD, SLOW = "127.0.0.21", "127.0.0.22", "127.0.0.23"
SLOW_SECONDS = 5.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass(slots=True)
class Houses:
    """`events`: how often each event came to the good receiver, by its `webhook-id`."""

    pictures: str
    good: str
    slow: str
    events: Counter[str] = field(default_factory=Counter)


class Connection(KeptConnection):
    def __init__(self, houses: Houses, bodies: Sequence[bytes], *, slow: bool) -> None:
        super().__init__()
        self._houses = houses
        self._bodies = bodies
        self._slow = slow

    def data_received(self, data: bytes) -> None:
        self.unread += data
        while b"\r\n\r\n" in self.unread:
            head, _, rest = self.unread.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(fields.get("content-length", 0))
            if len(rest) < length:
                return
            self.unread = rest[length:]
            self._answer(method, path, fields.get("webhook-id", ""))

    def _answer(self, method: str, path: str, event: str) -> None:
        if method == "GET":
            body = self._bodies[sum(path.encode()) % len(self._bodies)]
            head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
            self.send(head.encode(), body)
        elif self._slow:
            asyncio.get_running_loop().call_later(SLOW_SECONDS, self.send, OK)
        else:
            self._houses.events[event] += 1
            self.send(OK)


@asynccontextmanager
async def houses(ports: Sequence[int], bodies: Sequence[bytes]) -> AsyncIterator[Houses]:
    """Listening; `ports` of the image host, of the good and of the slow receiver."""
    places = [f"http://{address}:{port}" for address, port in zip((PICTURES, GOOD, SLOW), ports, strict=True)]
    found = Houses(places[0], places[1], places[2])
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as ends:
        for address, port in zip((PICTURES, GOOD, SLOW), ports, strict=True):
            made = partial(Connection, found, bodies, slow=address == SLOW)
            server = await loop.create_server(made, address, port, backlog=512)
            ends.callback(server.close)
        yield found
