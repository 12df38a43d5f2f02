"""Sends every answer in pieces, and ends it when the client takes none of it for a while.

A server buffers whatever the client has not read yet. If an answer were given to it as a whole, the call would be over
(its place in `limits` free) while all of the answer is still in memory. So a piece is sent when most of the one before
is taken.
"""

import asyncio
from collections.abc import Iterator

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.log import get_logger

log = get_logger(__name__)
PIECE = 64 * 1024
SEND_TIMEOUT = 300
"""Seconds in which the client must take something.

A slow client can seem idle for long: the system's own buffers hold about 2 MB and ask for more when a third is gone.
At 50 kB/s this took 31 s, at 20 kB/s up to 120 s.
"""


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


def abort(receive: Receive) -> None:
    """End the connection. ASGI has no word for it, and uvicorn's own close waits until its buffer is taken."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    abort = getattr(transport, "abort", None)
    if abort is not None:
        abort()


def pieces(message: Message) -> Iterator[Message]:
    """The same message, or several with at most PIECE bytes of body each."""
    body = message.get("body", b"")
    last = max(len(body) - 1, 0) // PIECE * PIECE
    for start in range(0, last, PIECE):
        yield {**message, "body": body[start : start + PIECE], "more_body": True}
    yield {**message, "body": body[last:]} if last else message
