"""The one door to the outside: every URL a user gives (image or webhook) is fetched or posted to through here.

Blocking, and safe to use from many threads at once. No proxies, no cookies, no decompression, HTTP/1.1 only.
"""

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from shared.egress.deadline import Deadline
from shared.egress.dial import dial, tls_context
from shared.egress.exchange import Exchange, ask
from shared.egress.guard import Guard
from shared.egress.line import IdleLines, Line
from shared.egress.stream import DeadlineStream
from shared.egress.target import Target, parse_target
from shared.egress.verdict import redirect_target, status_error
from shared.errors import ConnectFailure, FetchTimeout, HttpProtocol, TooManyRedirects

MAX_REDIRECTS = 5
CONNECT_SECONDS = 5.0
USER_AGENT = "Halftone/1.0 (image compression)"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole body. `content_type` is what the host claims: never to be trusted."""

    body: bytes | bytearray
    content_type: str
    final_url: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a webhook's receiver said, whatever it said. Header names are lower case."""

    status_code: int
    headers: Mapping[str, str]
    excerpt: str


class Egress:
    """`allow` lets `host:port` pairs through the address check; `max_idle` connections are kept for later."""

    def __init__(
        self,
        allow: Sequence[str] = (),
        *,
        max_idle: int = 64,
        user_agent: str = USER_AGENT,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = Guard(allow)
        self._idle = IdleLines(max_idle)
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._tls = tls or tls_context()

    def fetch(
        self, url: str, *, deadline_seconds: float, max_bytes: int, connect_seconds: float = CONNECT_SECONDS
    ) -> Fetched:
        """GET, redirects followed; everything together within the deadline. Raises an ImageError."""
        deadline = Deadline(deadline_seconds)
        target = parse_target(url)
        for _ in range(MAX_REDIRECTS + 1):
            with self._get(target, deadline=deadline, connect_seconds=connect_seconds) as exchange:
                onward = redirect_target(exchange.response.status, exchange.headers, target)
                if onward is None:
                    return _fetched(exchange, max_bytes=max_bytes)
                exchange.skip_body()
                target = onward
        raise TooManyRedirects(f"More than {MAX_REDIRECTS} redirects.")

    def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str], deadline_seconds: float, max_response_bytes: int
    ) -> Answer:
        """POST once, on a connection of its own; any status is an answer, a redirect too. Raises an ImageError."""
        deadline = Deadline(deadline_seconds)
        target = parse_target(url)
        fields = {**self._headers, **headers, "Content-Length": str(len(body)), "Connection": "close"}
        line = _twice(lambda: self._connect(target, deadline=deadline, connect_seconds=CONNECT_SECONDS))
        try:
            exchange = ask(line, "POST", target, fields, body, deadline=deadline)
            excerpt = exchange.read_excerpt(max_response_bytes)
            return Answer(exchange.response.status, exchange.headers, excerpt)
        finally:
            line.close()

    def close(self) -> None:
        """Close idle connections; one in use is closed when it is given back."""
        self._idle.close()

    @contextmanager
    def _get(self, target: Target, *, deadline: Deadline, connect_seconds: float) -> Iterator[Exchange]:
        exchange = self._open(target, deadline=deadline, connect_seconds=connect_seconds)
        try:
            yield exchange
        finally:
            exchange.close()
            self._idle.give_back(exchange.line)

    def _open(self, target: Target, *, deadline: Deadline, connect_seconds: float) -> Exchange:
        """On a kept connection if it answers (it may be stale, or hold rubbish), else on a new one, tried twice."""
        fields = {**self._headers, "Accept": "image/*, */*;q=0.5"}
        if line := self._idle.take(target):
            with suppress(ConnectFailure, HttpProtocol):
                return ask(line, "GET", target, fields, None, deadline=deadline)

        def on_a_new_line() -> Exchange:
            line = self._connect(target, deadline=deadline, connect_seconds=connect_seconds)
            return ask(line, "GET", target, fields, None, deadline=deadline)

        return _twice(on_a_new_line)

    def _connect(self, target: Target, *, deadline: Deadline, connect_seconds: float) -> Line:
        try:
            addresses = self._guard.addresses(target, seconds=connect_seconds, total=deadline)
            connect = deadline.sooner(connect_seconds)
        except TimeoutError as error:
            raise FetchTimeout(f"{target.host} could not be reached in time.") from error
        sock = dial(target, addresses, tls=self._tls, total=deadline, connect=connect)
        return Line(target, DeadlineStream(sock, deadline))


def _twice(call: Callable[[], T]) -> T:
    """A connect failure is tried once more on the spot."""
    try:
        return call()
    except ConnectFailure:
        return call()


def _fetched(exchange: Exchange, *, max_bytes: int) -> Fetched:
    host = exchange.target.host
    error = status_error(exchange.response.status, exchange.headers, host, now=datetime.now(UTC))
    if error:
        exchange.skip_body()
        raise error
    body = exchange.read_body(max_bytes=max_bytes)
    return Fetched(body, exchange.headers.get("content-type", ""), str(exchange.target.url))
