"""How answers and connections go together: in pieces, before the end of a body, and when nobody takes them.

A server buffers whatever the client has not read yet. If an answer were given to it as a whole, the call would be over
(its place in `limits` free) while all of the answer is still in memory. So a piece is sent when most of the one before
is taken.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.paths import READ
from shared.log import get_logger

log = get_logger(__name__)
PIECE = 64 * 1024
SEND_TIMEOUT = 300
"""Seconds in which the client must take something.

A slow client can seem idle for long: the system's own buffers hold about 2 MB and ask for more when a third is gone.
At 50 kB/s this took 31 s, at 20 kB/s up to 120 s.
"""
SMALL_BODY = 64 * 1024
"""Bytes of a body that mostly comes with its headers: SMALL_SECONDS are waited for it, and the connection stays."""
SMALL_SECONDS = 0.02
DROP_IDLE_SECONDS = 3.0
DROP_SECONDS = 30.0
DROPPED_AT_ONCE = 100
"""Bodies, a process; clients beyond that may find the connection closed before they read why."""
RECEIVE_BUFFER = 1_000_000
"""Bytes on a connection that we have not read yet; the system doubles it for its own use."""


class NotTaken(Exception):
    """The client takes nothing of the answer."""


class Backpressure:
    """Middleware; must be outside of every other that may send."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_pieces(message: Message) -> None:
            for piece in pieces(message):
                try:
                    async with asyncio.timeout(SEND_TIMEOUT):
                        await send(piece)
                except TimeoutError:
                    raise NotTaken from None

        try:
            await self.app(scope, receive, send_in_pieces)
        except NotTaken:
            log.info("not_taken", path=scope["path"][:500])
            abort(receive)


class EarlyAnswers:
    """Middleware: an answer before the end of the body reaches the client at once, whatever it sends and reads.

    No service needs to do anything for it. `X-Body-Abandoned` has the gateway pass the answer on now instead of after
    the body, and hang up when the answer ends. It ends only after the rest of the body, which is read and dropped: many
    clients read nothing until they have sent all. Where the rest is longer than `most` bytes, which the gateway may not
    pass, or too many are dropped already, the answer ends at once.

    The service never closes such a connection first, which the gateway, still sending, would take for a dead service.
    """

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self.app = app
        self._most = most
        self._dropped = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READ or (length := _length_of(scope)) == 0:
            await self.app(scope, receive, send)
            return
        body = Body(receive)
        if length is None:
            body.bound_buffer()
        waits = False

        async def send_early(message: Message) -> None:
            nonlocal waits
            if message["type"] == "http.response.start" and not await body.has_come(length):
                waits = (length or 0) <= self._most and self._dropped < DROPPED_AT_ONCE
                message = _abandoning(message, ends_later=waits)
            await send({**message, "more_body": True} if waits and "body" in message else message)

        await self.app(scope, body.receive, send_early)
        if waits:
            self._dropped += 1
            try:
                await body.drop(self._most)
            finally:
                self._dropped -= 1
            await send({"type": "http.response.body"})


class Body:
    """The body of a request, as far as it has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False
        self._size = 0

    @property
    def transport(self) -> Any:
        """The server's, for `abort`."""
        return _transport(self._receive)

    def bound_buffer(self) -> None:
        """Let little come that is not asked for.

        By itself the system's buffer grows to tens of MB while much is read. The gateway counts what is in it, reaches
        its own limit in the middle of our answer if we are slow to end that, and cuts it off.
        """
        if self.transport is not None:
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    async def receive(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        return message

    async def has_come(self, length: int | None) -> bool:
        """Whether all of it has, or does presently."""
        if not self._ended and length is not None and length <= SMALL_BODY:
            await self.drop(SMALL_BODY, seconds=SMALL_SECONDS)
        return self._ended

    async def drop(self, most: int, *, seconds: float = DROP_SECONDS) -> None:
        """Read on until it ends, pauses, takes too long or has more than `most` bytes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._ended and self._size <= most:
                    async with asyncio.timeout(DROP_IDLE_SECONDS):
                        await self.receive()


def _length_of(scope: Scope) -> int | None:
    """Bytes of the body, None if it is chunked."""
    headers = Headers(scope=scope)
    if "transfer-encoding" in headers:
        return None
    stated = headers.get("content-length", "")
    return int(stated) if stated.isdecimal() else 0


def _abandoning(start: Message, *, ends_later: bool) -> Message:
    start = {**start, "headers": list(start["headers"])}
    headers = MutableHeaders(scope=start)
    headers["X-Body-Abandoned"] = "1"
    if ends_later:
        del headers["content-length"]
    return start


def abort(receive: Receive) -> None:
    """End the connection. ASGI has no word for it, and uvicorn's own close waits until its buffer is taken."""
    abort = getattr(_transport(receive), "abort", None)
    if abort is not None:
        abort()


def _transport(receive: Receive) -> Any:
    return getattr(getattr(receive, "__self__", None), "transport", None)


def pieces(message: Message) -> Iterator[Message]:
    """The same message, or several with at most PIECE bytes of body each."""
    body = message.get("body", b"")
    last = max(len(body) - 1, 0) // PIECE * PIECE
    for start in range(0, last, PIECE):
        yield {**message, "body": body[start : start + PIECE], "more_body": True}
    yield {**message, "body": body[last:]} if last else message
