"""A socket whose every wait ends at the deadline: a server that sends one byte a second cannot outlive it."""

import select
import socket
import ssl
from typing import Any

import httpcore

from shared.egress.deadline import Deadline


class DeadlineStream(httpcore.NetworkStream):
    """What httpcore reads from and writes to; whoever uses the connection sets `deadline` first.

    httpcore's own per-operation timeouts are ignored: each would start anew with every byte.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self.deadline = deadline
        self.ended = False  # the other side has said goodbye

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        try:
            self._sock.settimeout(self.deadline.left())
            data = self._sock.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError from error
        self.ended = not data
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        if not buffer:
            return
        try:
            self._sock.settimeout(self.deadline.left())
            self._sock.sendall(buffer)  # one timeout for the whole buffer, not for each piece
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError from error

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        raise NotImplementedError  # done in dial.py, before there is a stream

    def get_extra_info(self, info: str) -> Any:
        return self._is_readable() if info == "is_readable" else None

    def _is_readable(self) -> bool:
        """An idle connection with something to read has been closed by the other side."""
        if self._sock.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        return bool(poll.poll(0))
