"""One connection to an origin: dialled to a checked address, TLS included, with one exchange at a time.

Everything here runs on the loop. Each wait ends at a deadline that no byte of the host can move.
"""

import asyncio
import errno
import os
import select
import socket
import ssl
import struct
import sys
import time
from contextlib import suppress
from ipaddress import ip_address
from typing import cast

import certifi

from shared.addresses import Address
from shared.egress.response import Response, ResponseReader
from shared.errors import BlockedUrl, ConnectFailure, ImageError
from shared.urls import REFUSED, Target

if sys.platform != "win32":
    import fcntl
    import termios

KEEP_SECONDS = 15.0
CHECK_SECONDS = 1.0
# An answer that has begun must bring so much on average, after a grace; a modem of 1995 does. The 30 s of a fetch end a
# crawling host soon enough: this is for a longer HALFTONE_FETCH_SECONDS, and for heads that never end.
LEAST_BYTES_PER_SECOND, GRACE_SECONDS = 1000, 10.0
LEAST_CONNECT_SECONDS = 2.0  # for an address: TLS with a host that is far away or busy takes most of a second
# What TLS may cost beside what it delivers, before it delivers less than half (`_is_wasteful`).
FREE_OVERHEAD = 256 * 1024
_TCP_INFO_BYTES_RECEIVED = 128  # where Linux has `tcpi_bytes_received` in its `struct tcp_info`


class Deadline:
    """A point in time: `Deadline(30)` is 30 seconds from now."""

    __slots__ = ("at",)

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then; 0 once it has passed."""
        return max(0.0, self.at - time.monotonic())

    def sooner(self, seconds: float) -> "Deadline":
        """`seconds` from now, or this deadline if it is earlier."""
        part = Deadline(seconds)
        part.at = min(part.at, self.at)
        return part


class Connection(asyncio.BufferedProtocol):
    """HTTP/1.1 on a transport."""

    def __init__(self, target: Target) -> None:
        self.origin = target.origin
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self._reader: ResponseReader | None = None
        self._over: asyncio.Future[None]
        self._timer: asyncio.TimerHandle
        self._ends_at = 0.0  # on the loop's clock, as `_begun` is
        self._begun: float | None = None  # when the first check saw bytes of this answer
        self._answered = 0  # bytes of this answer
        self._delivered = 0  # bytes that the transport has handed over since it was dialled

    async def exchange(self, request: bytes, reader: ResponseReader, *, deadline: Deadline) -> Response:
        """Send the request and read the answer; unless it can be used again, the connection is closed then.

        Raises ConnectFailure, FetchTimeout or HttpProtocol where there is no answer.
        """
        self._over = asyncio.get_running_loop().create_future()
        self._ends_at = asyncio.get_running_loop().time() + deadline.left()
        self._begun, self._answered = None, 0
        self._wait()
        self._reader = reader
        try:
            if self._transport is None:  # lost since it was dialled
                reader.ended(broken=True)
            else:
                self._transport.write(request)
            await self._over
            response = reader.result()
        except BaseException:
            self.close()
            raise
        finally:
            self._reader = None
            self._timer.cancel()
        if not response.reusable:
            self.close()
        return response

    def is_reusable(self) -> bool:
        """Not with surplus bytes: they would be read as the answer to the next request."""
        return self._transport is not None and not self._transport.is_closing() and not self._poll.poll(0)

    def is_fresh(self) -> bool:
        """Whether it has not been idle for so long that the other side has probably forgotten it."""
        return time.monotonic() < self.idle_since + KEEP_SECONDS

    def close(self) -> None:
        """At once, without TLS's farewell: there may be no one to answer it."""
        if self._transport is not None:
            self._transport.abort()

    # The transport calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own do not derive from it
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reader.room(sizehint) if self._reader else memoryview(bytearray(1))

    def buffer_updated(self, nbytes: int) -> None:
        if self._reader is None:  # surplus
            self.close()
            return
        self._answered += nbytes
        self._delivered += nbytes
        try:
            is_over = self._reader.received(nbytes)
        except ImageError as error:
            self._end(error)
            return
        if is_over:
            self._end()
        elif seconds := self._reader.leftover_seconds:
            self._hurry(seconds)

    def eof_received(self) -> None:
        self._ended(broken=False)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._ended(broken=error is not None)

    def _ended(self, *, broken: bool) -> None:
        if self._reader is None:
            return
        try:
            self._reader.ended(broken=broken)
        except ImageError as error:
            self._end(error)
        else:
            self._end()

    def _wait(self) -> None:
        """Set the timer for the next check, or for the end."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(min(self._ends_at, loop.time() + CHECK_SECONDS), self._check)

    def _check(self) -> None:
        """Ends the exchange where its time is up, or where the host wastes ours."""
        if self._reader is None:
            return
        now = asyncio.get_running_loop().time()
        if self._answered and self._begun is None:
            self._begun = now
        try:
            if now >= self._ends_at:
                self._reader.late("did not answer in time")
            elif self._begun and self._answered < LEAST_BYTES_PER_SECOND * (now - self._begun - GRACE_SECONDS):
                self._reader.late(f"sent less than {LEAST_BYTES_PER_SECOND} bytes a second")
            elif self._is_wasteful():
                self._reader.refuse("sent its answer in too many small pieces")
            else:
                self._wait()
                return
        except ImageError as error:
            self._end(error)
        else:
            self._end()

    def _is_wasteful(self) -> bool:
        """Whether most of what has come is TLS's own: records of a byte each, or of none, cost us much and it little.

        Only Linux tells; elsewhere the deadline alone ends it.
        """
        if sys.platform != "linux" or self._transport is None:
            return False
        # RuntimeError: uvloop's, of a transport that closes just now.
        with suppress(OSError, struct.error, RuntimeError):
            sock = self._transport.get_extra_info("socket")
            known = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES_RECEIVED + 8)
            (arrived,) = struct.unpack_from("Q", known, _TCP_INFO_BYTES_RECEIVED)
            (unread,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)))
            return bool(arrived - unread > 2 * self._delivered + FREE_OVERHEAD)
        return False

    def _hurry(self, seconds: float) -> None:
        """End sooner: the rest of the body is not worth a longer wait."""
        soon = asyncio.get_running_loop().time() + seconds
        if soon < self._ends_at:
            self._ends_at = soon
            self._timer.cancel()
            self._wait()

    def _end(self, error: ImageError | None = None) -> None:
        self._reader = None
        if self._over.done():  # cancelled
            return
        if error:
            self._over.set_exception(error)
        else:
            self._over.set_result(None)


def tls_context() -> ssl.SSLContext:
    """Trusts the system's authorities and certifi's (a slim container may have none of its own)."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


async def dial(
    target: Target, addresses: tuple[Address, ...], *, tls: ssl.SSLContext, total: Deadline, connect: Deadline
) -> Connection:
    """Try each address with its share of the time until `connect`, so that a dead first one leaves time for the second.

    A share is two seconds or more, so of many dead addresses only the first ones are tried.

    Raises TimeoutError once `total` has passed, otherwise ConnectFailure.
    """
    failure: OSError = TimeoutError()
    for tried, address in enumerate(addresses):
        try:
            left = connect.left()
            async with asyncio.timeout(min(left, max(LEAST_CONNECT_SECONDS, left / (len(addresses) - tried)))):
                return await _connect(target, address, tls)
        except OSError as error:
            failure = error
    if not total.left():
        raise TimeoutError
    raise ConnectFailure(f"Could not connect to {target.host}: {_reason(failure)}.") from failure


async def _connect(target: Target, address: Address, tls: ssl.SSLContext) -> Connection:
    is_https = target.scheme == "https"
    transport, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(target),
        str(address),
        target.port,
        ssl=tls if is_https else None,
        server_hostname=target.host if is_https else None,  # SNI and certificate check go by the name
    )
    # What is judged must be what answers, whatever loop, library or system stands between. A firewall that rewrites
    # addresses on the way does not show here: that is its operator's decision.
    peer = transport.get_extra_info("peername")
    if not peer:  # the host has ended it already
        connection.close()
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    if ip_address(peer[0]) != address or peer[1] != target.port:
        connection.close()
        raise BlockedUrl(REFUSED)
    return connection


def _reason(failure: OSError) -> str:
    """Public text: it never shows an address that the user did not give."""
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({failure.verify_message})"
    if isinstance(failure, ssl.SSLError) or (isinstance(failure, ConnectionError) and not failure.errno):
        return "no secure connection could be agreed on"  # the loop gives no number where a handshake breaks off
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    return os.strerror(failure.errno).lower() if failure.errno else "the network refused"
