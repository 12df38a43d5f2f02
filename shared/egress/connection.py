"""One connection to an origin: dialled to a checked address, TLS included, with one exchange at a time.

Everything here runs on the loop. Each wait ends at a deadline that no byte of the host can move.
"""

import asyncio
import os
import select
import ssl
import time
from typing import cast

import certifi

from shared.addresses import Address
from shared.egress.response import Response, ResponseReader
from shared.errors import ConnectFailure, ImageError
from shared.urls import Target

KEEP_SECONDS = 15.0
LEFTOVER_SECONDS = 0.5


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

    async def exchange(self, request: bytes, reader: ResponseReader, *, deadline: Deadline) -> Response:
        """Send the request and read the answer; unless it can be used again, the connection is closed then.

        Raises ConnectFailure, FetchTimeout or HttpProtocol where there is no answer.
        """
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        self._timer = loop.call_later(deadline.left(), self._late)
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
        try:
            is_over = self._reader.received(nbytes)
        except ImageError as error:
            self._end(error)
            return
        if is_over:
            self._end()
        elif self._reader.is_leftover:
            self._hurry()

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

    def _late(self) -> None:
        if self._reader is None:
            return
        try:
            self._reader.late()
        except ImageError as error:
            self._end(error)
        else:
            self._end()

    def _hurry(self) -> None:
        """The body is read only to keep the connection, which is not worth a long wait."""
        soon = asyncio.get_running_loop().time() + LEFTOVER_SECONDS
        if soon < self._timer.when():
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(soon, self._late)

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

    Raises TimeoutError once `total` has passed, otherwise ConnectFailure.
    """
    failure: OSError = TimeoutError()
    for tried, address in enumerate(addresses):
        try:
            async with asyncio.timeout(connect.left() / (len(addresses) - tried)):
                return await _connect(target, address, tls)
        except OSError as error:
            failure = error
    if not total.left():
        raise TimeoutError
    raise ConnectFailure(f"Could not connect to {target.host}: {_reason(failure)}.") from failure


async def _connect(target: Target, address: Address, tls: ssl.SSLContext) -> Connection:
    is_https = target.scheme == "https"
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(target),
        str(address),
        target.port,
        ssl=tls if is_https else None,
        server_hostname=target.host if is_https else None,  # SNI and certificate check go by the name
    )
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
