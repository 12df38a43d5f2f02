"""Fetch images and post webhooks: the only way out to a URL that a user gave.

Blocking, and safe to use from many threads at once. No proxies, no cookies, no decompression, HTTP/1.1 only.
"""

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import httpx

from shared.addresses import Address, is_public
from shared.egress.connection import Connection, Deadline, dial, tls_context
from shared.egress.pool import ConnectionPool
from shared.egress.resolver import Resolver
from shared.egress.response import Response, request
from shared.errors import BlockedUrl, ConnectFailure, FetchTimeout, HttpProtocol, TooManyRedirects
from shared.urls import InvalidUrl, Target, allowed_pair

MAX_REDIRECTS = 5
HEADERS = {"User-Agent": "Halftone/1.0 (image compression)", "Accept-Encoding": "identity"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A webhook receiver's response, whatever its status."""

    status_code: int
    headers: httpx.Headers
    excerpt: str


class Egress:
    """`allow` lists `host:port` pairs that need not be public; up to `max_idle` connections are kept for later."""

    def __init__(
        self,
        allow: Sequence[str] = (),
        *,
        connect_seconds: float = 5.0,
        max_idle: int = 64,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow = frozenset(allowed_pair(pair) for pair in allow)
        self._resolver = Resolver()
        self._connect_seconds = connect_seconds
        self._pool = ConnectionPool(max_idle)
        self._tls = tls or tls_context()

    def fetch(self, url: str, *, deadline_seconds: float, max_bytes: int) -> bytearray:
        """The body that GET yields, redirects followed; all within the deadline. Raises an ImageError."""
        deadline = Deadline(deadline_seconds)
        target = _parse(url)
        for _ in range(MAX_REDIRECTS + 1):
            with self._get(target, deadline) as response:
                next_target = response.redirect()
                if next_target is None:
                    response.check_status(now=datetime.now(UTC))
                    return response.read_body(max_bytes=max_bytes)
                response.skip_body()
                target = next_target
        raise TooManyRedirects(f"More than {MAX_REDIRECTS} redirects.")

    def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str], deadline_seconds: float, max_response_bytes: int
    ) -> Answer:
        """POST once, on a connection of its own; any status is an answer, a redirect too. Raises an ImageError."""
        deadline = Deadline(deadline_seconds)
        target = _parse(url)
        fields = {**HEADERS, **headers, "Content-Length": str(len(body)), "Connection": "close"}
        connection = _twice(lambda: self._connect(target, deadline))
        try:
            response = request(connection, "POST", target, fields, body, deadline=deadline)
            return Answer(response.status, response.headers, response.read_excerpt(max_response_bytes))
        finally:
            connection.close()

    def close(self) -> None:
        """Close idle connections; one in use is closed when its request is done."""
        self._pool.close()

    @contextmanager
    def _get(self, target: Target, deadline: Deadline) -> Iterator[Response]:
        response = self._send_get(target, deadline)
        try:
            yield response
        finally:
            response.close()
            self._pool.give_back(response.connection)

    def _send_get(self, target: Target, deadline: Deadline) -> Response:
        """On an idle connection if it works (it may be stale, or hold garbage), else on a new one, tried twice."""
        fields = {**HEADERS, "Accept": "image/*, */*;q=0.5"}
        if idle := self._pool.take(target):
            with suppress(ConnectFailure, HttpProtocol):
                return request(idle, "GET", target, fields, None, deadline=deadline)

        def on_new_connection() -> Response:
            connection = self._connect(target, deadline)
            return request(connection, "GET", target, fields, None, deadline=deadline)

        return _twice(on_new_connection)

    def _connect(self, target: Target, deadline: Deadline) -> Connection:
        try:
            addresses = self._judged_addresses(target, deadline)
            connect = deadline.sooner(self._connect_seconds)
            return dial(target, addresses, tls=self._tls, total=deadline, connect=connect)
        except TimeoutError as error:
            raise FetchTimeout(f"{target.host} could not be reached in time.") from error

    def _judged_addresses(self, target: Target, deadline: Deadline) -> tuple[Address, ...]:
        """The addresses that may be dialled, best first; raises BlockedUrl.

        One refused address blocks the name: its name server decides which one the next lookup returns. Dial these and
        never look the name up again: it could resolve to another address between check and call (DNS rebinding).
        """
        if reason := target.blocked(self._allow):
            raise BlockedUrl(reason)
        if target.address:
            return (target.address,)
        found = self._resolver.addresses(target.host, seconds=self._connect_seconds, total=deadline)
        if target.host_port not in self._allow and not all(is_public(address) for address in found):
            raise BlockedUrl(f"The address of {target.host} is not public.")
        return found


def _parse(url: str) -> Target:
    try:
        return Target.parse(url)
    except InvalidUrl as error:
        raise BlockedUrl(str(error)) from error


def _twice(call: Callable[[], T]) -> T:
    """A connect failure is tried once more on the spot."""
    try:
        return call()
    except ConnectFailure:
        return call()
