"""The demo's origin, and the ways in which one can misbehave that we promise to survive."""

import socket
import struct

from deploy.demo.origin import Behaviour, Exchange, Origin, Received, body, head, status

__all__ = ["Behaviour", "Exchange", "Origin", "Received", "body", "status"]  # the demo's
OK = "200 OK"


def redirect(to: str, *, code: int = 302) -> Behaviour:
    return status(code, b"elsewhere", headers={"Location": to})


def coded(data: bytes, *, coding: str = "gzip") -> Behaviour:
    """A Content-Encoding that was not asked for."""
    return body(data, headers={"Content-Encoding": coding})


def huge_headers(size: int) -> Behaviour:
    return body(b"x", headers={"X-Filler": "x" * size})


def claim(data: bytes, *, length: int) -> Behaviour:
    """A lie about Content-Length. With a length above the truth the connection then closes."""

    def answer(exchange: Exchange) -> None:
        exchange.send(head(OK, {"Content-Length": str(length)}) + data)
        exchange.keep = length <= len(data)

    return answer


def reset_after(data: bytes, *, sent: int) -> Behaviour:
    """A connection reset when `sent` bytes of the body are out; before the head where `sent` is negative."""

    def answer(exchange: Exchange) -> None:
        if sent >= 0:
            exchange.send(head(OK, {"Content-Length": str(len(data))}) + data[:sent])
            exchange.pause(0.05)  # a reset discards what has not been read yet
        exchange.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        exchange.keep = False

    return answer


def close_at_once(exchange: Exchange) -> None:
    exchange.keep = False


def garbage(exchange: Exchange) -> None:
    """Not HTTP."""
    exchange.send(b"220 mail.example ESMTP\r\n\r\n")
    exchange.keep = False


def late(behaviour: Behaviour, *, seconds: float) -> Behaviour:
    """Any behaviour, after a silence."""

    def answer(exchange: Exchange) -> None:
        exchange.pause(seconds)
        behaviour(exchange)

    return answer


def drip(data: bytes, *, every: float, size: int = 1) -> Behaviour:
    """The body, `size` bytes at a time."""

    def answer(exchange: Exchange) -> None:
        exchange.send(head(OK, {"Content-Length": str(len(data))}))
        for start in range(0, len(data), size):
            exchange.send(data[start : start + size])
            exchange.pause(every)

    return answer


def drip_headers(*, every: float) -> Behaviour:
    """A head that never ends."""

    def answer(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while True:
            exchange.send(b"x")
            exchange.pause(every)

    return answer


def endless(exchange: Exchange) -> None:
    """A chunked body without an end, as fast as it is taken."""
    exchange.send(head(OK, {"Transfer-Encoding": "chunked"}))
    while not exchange.stopping.is_set():
        exchange.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")
    exchange.keep = False
