"""What comes to a service unasked is little: the gateway counts it, and cuts an answer off at its own limit."""

import socket
from select import select
from threading import Event
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Scope, Send

from shared.http.connection import RECEIVE_BUFFER, EarlyAnswers
from tests.serving import serving

GROWN = 4 * RECEIVE_BUFFER
"""Doubled by the system, as far as it lets us: its own buffers grow by themselves, but not the same each time."""
BLOCK = 50_000


def test_a_chunked_body_that_is_not_read_waits_at_the_client() -> None:
    done = Event()

    async def reads_nothing(_scope: Scope, _receive: Receive, send: Send) -> None:
        await run_in_threadpool(done.wait, 30)
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    early = EarlyAnswers(reads_nothing, most=0)

    async def with_a_grown_buffer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            connection = receive.__self__.transport.get_extra_info("socket")  # type: ignore[attr-defined]
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, GROWN)
            await early(scope, receive, send)
        else:
            await _lifespan(receive, send)

    with serving(with_a_grown_buffer) as url:
        at = urlsplit(url)
        with socket.create_connection((at.hostname, at.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BLOCK)
            head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            client.sendall(head + b"%x\r\n" % (10 * GROWN))
            client.setblocking(False)
            came = 0
            while came < 5 * GROWN and select([], [client], [], 1)[1]:
                came += client.send(b"x" * BLOCK)
            done.set()
    assert came < 2 * RECEIVE_BUFFER + 10 * BLOCK


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message: Message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
