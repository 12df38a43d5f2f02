"""One connection to an origin: dialled to a checked address, TLS included, each wait cut at a deadline.

httpcore's own timeouts are ignored: each starts anew with every byte, so a host that drips would never be late.
"""

import os
import select
import socket
import ssl
import time
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Any

import certifi
import httpcore

from shared.addresses import Address
from shared.errors import ConnectFailure
from shared.urls import Target

MAX_HEADER_BYTES = 32 * 1024
KEEP_SECONDS = 15.0


class Deadline:
    """A point in time: `Deadline(30)` is 30 seconds from now."""

    __slots__ = ("at",)

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then, more than 0; raises TimeoutError once it has passed."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def sooner(self, seconds: float) -> "Deadline":
        """`seconds` from now, or this deadline if it is earlier."""
        part = Deadline(seconds)
        part.at = min(part.at, self.at)
        return part


class DeadlineStream(httpcore.NetworkStream):
    """The socket as httpcore reads and writes it, after TLS; set `deadline` before each use."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self.deadline = deadline
        self.ended = False  # the other side has closed its half

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

    def get_extra_info(self, info: str) -> Any:
        return self._is_readable() if info == "is_readable" else None

    def _is_readable(self) -> bool:
        """An idle connection with something to read has been closed by the other side."""
        if self._sock.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        return bool(poll.poll(0))


class Connection(httpcore.HTTP11Connection):
    """HTTP/1.1 on a stream. Used by one thread at a time."""

    MAX_INCOMPLETE_EVENT_SIZE = MAX_HEADER_BYTES  # httpcore's own is 100 kB

    def __init__(self, target: Target, stream: DeadlineStream) -> None:
        origin = httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port)
        super().__init__(origin, stream, keepalive_expiry=KEEP_SECONDS)
        self.origin = target.origin
        self.network_stream = stream

    def send(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None, *, deadline: Deadline
    ) -> httpcore.Response:
        """The response's head; its body is still to be read. Raises httpcore's errors."""
        self.network_stream.deadline = deadline
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        fields = [("Host", target.netloc), *headers.items()]
        return self.handle_request(httpcore.Request(method, url, headers=fields, content=body))

    def is_idle(self) -> bool:
        """Not with surplus bytes: they would be read as the answer to the next request."""
        return super().is_idle() and self._h11_state.trailing_data == (b"", False)


def tls_context() -> ssl.SSLContext:
    """Trusts the system's authorities and certifi's (a slim container may have none of its own)."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


def dial(
    target: Target, addresses: tuple[Address, ...], *, tls: ssl.SSLContext, total: Deadline, connect: Deadline
) -> Connection:
    """Try each address with its share of the time until `connect`, so that a dead first one leaves time for the second.

    Raises TimeoutError once `total` has passed, otherwise ConnectFailure.
    """
    failure: OSError = TimeoutError()
    for tried, address in enumerate(addresses):
        try:
            share = connect.left() / (len(addresses) - tried)
            sock = _connect(target, address, tls=tls, deadline=connect.sooner(share))
            return Connection(target, DeadlineStream(sock, total))
        except OSError as error:
            failure = error
    total.left()  # raises TimeoutError
    raise ConnectFailure(f"Could not connect to {target.host}: {_reason(failure)}.") from failure


def _connect(target: Target, address: Address, *, tls: ssl.SSLContext, deadline: Deadline) -> socket.socket:
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(deadline.left())
        sock.connect((str(address), target.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.scheme == "http":
            return sock
        sock.settimeout(deadline.left())  # one timeout for the whole handshake
        return tls.wrap_socket(sock, server_hostname=target.host)  # SNI and certificate check go by the name
    except BaseException:
        sock.close()
        raise


def _reason(failure: OSError) -> str:
    """Public text: it never shows an address that the user did not give."""
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({failure.verify_message})"
    if isinstance(failure, ssl.SSLError):
        return "no secure connection could be agreed on"
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    return os.strerror(failure.errno).lower() if failure.errno else "the network refused"
