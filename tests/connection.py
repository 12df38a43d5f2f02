"""One end of HTTP/1.1 on an event loop, as cheap as can be: an image host of a benchmark shares the machine with us."""

import asyncio
from typing import cast


class KeptConnection(asyncio.Protocol):
    """HTTP/1.1 with kept connections; a client sends its next request after the answer."""

    def __init__(self) -> None:
        self.unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is none

    def send(self, *parts: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.writelines(parts)
