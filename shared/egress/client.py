"""Fetch images and post webhooks: the only way out to a URL that a user gave.

Its methods block and may be called from many threads at once; the exchanges themselves run on one event loop. No
proxies, no cookies, no decompression, HTTP/1.1 only.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from shared.addresses import Address
from shared.egress.connection import Connection, Deadline, dial, tls_context
from shared.egress.loop import Batch, Ended, running_loop
from shared.egress.pool import ConnectionPool
from shared.egress.resolver import Resolver
from shared.egress.response import Response, ResponseReader
from shared.errors import BlockedUrl, ConnectFailure, DnsFailure, FetchTimeout, HttpProtocol, TooManyRedirects
from shared.urls import REFUSED, InvalidUrl, Target, allowed_pair

MAX_REDIRECTS = 5
ACCEPT = "image/*, */*;q=0.5"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A webhook receiver's response, whatever its status. Header names are lower case."""

    status_code: int
    headers: Mapping[str, str]
    excerpt: str


class Egress:
    """`allow` lists `host:port` pairs that need not be public; up to `max_idle` connections are kept for later.

    `public_url` is our own API's address, to which no webhook is posted. `contact` tells hosts whom to ask about us.
    """

    def __init__(
        self,
        allow: Sequence[str] = (),
        *,
        public_url: str | None = None,
        contact: str = "",
        connect_seconds: float = 5.0,
        max_idle: int = 128,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow = frozenset(allowed_pair(pair) for pair in allow)
        self._public_url = public_url
        self._headers = {"User-Agent": user_agent(contact), "Accept-Encoding": "identity"}
        self._resolver = Resolver()
        self._connect_seconds = connect_seconds
        self._pool = ConnectionPool(max_idle)
        self._tls = tls or tls_context()
        self._fetches: set[asyncio.Task[bytearray]] = set()
        self._gives_up = False

    def fetch_all(self, urls: Sequence[str], *, deadline_seconds: float, max_bytes: int) -> Iterator[Ended[bytearray]]:
        """GET all at once, redirects followed, within one deadline: each URL's index with its outcome, as they come.

        An outcome is the body, an ImageError (any other error is a bug), or None for a fetch that was given up.
        """
        deadline = Deadline(deadline_seconds)
        batch = Batch([self._fetch(url, deadline, max_bytes) for url in urls])
        running_loop().call_soon_threadsafe(self._start, batch)
        return batch.outcomes()

    def post(
        self,
        url: str,
        *,
        body: bytes,
        headers: Callable[[], Mapping[str, str]],
        deadline_seconds: float,
        max_response_bytes: int,
    ) -> Answer:
        """POST once, on a connection of its own; any status is an answer, a redirect too. Raises an ImageError.

        `headers` is called on the loop once the receiver is connected, just before they are sent, and not before.
        """
        batch = Batch([self._post(url, body, headers, Deadline(deadline_seconds), max_response_bytes)])
        running_loop().call_soon_threadsafe(batch.start)
        [(_, outcome, _)] = batch.outcomes()
        if not isinstance(outcome, Answer):
            raise outcome or RuntimeError("given up")
        return outcome

    def known_addresses(self, host: str) -> tuple[Address, ...]:
        """Where a name led when it was looked up a moment ago, best first; empty if that is not known."""
        return self._resolver.known(host)

    def give_up(self) -> None:
        """End every fetch now and in the future; its outcome is None."""
        running_loop().call_soon_threadsafe(self._give_up)

    def close(self) -> None:
        """Close idle connections; one in use is closed when its request is done."""
        running_loop().call_soon_threadsafe(self._pool.close)

    def _start(self, batch: Batch[bytearray]) -> None:
        for task in batch.start():
            self._fetches.add(task)
            task.add_done_callback(self._fetches.discard)
            if self._gives_up:
                task.cancel()

    def _give_up(self) -> None:
        self._gives_up = True
        for task in self._fetches:
            task.cancel()

    async def _fetch(self, url: str, deadline: Deadline, max_bytes: int) -> bytearray:
        target = _parse(url)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._get(target, deadline, max_bytes)
            next_target = response.redirect(target)
            if next_target is None:
                return response.whole_body(target)
            target = next_target
        raise TooManyRedirects(f"More than {MAX_REDIRECTS} redirects.")

    async def _get(self, target: Target, deadline: Deadline, max_bytes: int) -> Response:
        """On an idle connection if it works (it may be stale, or hold garbage), else on a new one, tried twice."""
        request = _request("GET", target, {**self._headers, "Accept": ACCEPT})

        async def exchange(connection: Connection) -> Response:
            reader = ResponseReader(target.host, max_bytes=max_bytes)
            response = await connection.exchange(request, reader, deadline=deadline)
            if response.reusable:
                self._pool.give_back(connection)
            return response

        async def on_new_connection() -> Response:
            return await exchange(await self._connect(target, deadline))

        if idle := self._pool.take(target):
            with suppress(ConnectFailure, HttpProtocol):
                return await exchange(idle)
        return await _twice(on_new_connection)

    async def _post(
        self, url: str, body: bytes, headers: Callable[[], Mapping[str, str]], deadline: Deadline, max_bytes: int
    ) -> Answer:
        target = _parse(url)
        if self._public_url and target.is_own(self._public_url, self._allow):
            raise BlockedUrl("The webhook leads back to this service. Give another URL.")
        connection = await _twice(lambda: self._connect(target, deadline))
        try:
            fields = {**self._headers, **headers(), "Content-Length": str(len(body)), "Connection": "close"}
            reader = ResponseReader(target.host, max_bytes=max_bytes, excerpt=True)
            response = await connection.exchange(_request("POST", target, fields) + body, reader, deadline=deadline)
        finally:
            connection.close()
        return Answer(response.status, response.headers, response.body.decode("utf-8", "replace"))

    async def _connect(self, target: Target, deadline: Deadline) -> Connection:
        try:
            addresses = await self._judged_addresses(target, deadline)
            connect = deadline.sooner(self._connect_seconds)
            return await dial(target, addresses, tls=self._tls, total=deadline, connect=connect)
        except TimeoutError as error:
            raise FetchTimeout(f"{target.host} could not be reached in time.") from error

    async def _judged_addresses(self, target: Target, deadline: Deadline) -> tuple[Address, ...]:
        """The addresses that may be dialled, best first. Raises BlockedUrl or DnsFailure.

        One refused address blocks the name: its name server decides which one the next lookup returns. Dial these and
        never look the name up again: it could resolve to another address between check and call (DNS rebinding).
        A refused name is answered as one that does not exist, or strangers could ask which names our network knows.
        """
        if reason := target.blocked(self._allow):
            raise BlockedUrl(reason)
        if target.address:
            return (target.address,)
        found = await self._resolver.addresses(target.host, seconds=self._connect_seconds, total=deadline)
        if found.are_link_local or not (found.are_public or target.host_port in self._allow):
            raise DnsFailure(REFUSED)
        return found.addresses


def _parse(url: str) -> Target:
    try:
        return Target.parse(url)
    except InvalidUrl as error:
        raise BlockedUrl(REFUSED) from error


def user_agent(contact: str) -> str:
    """`contact` is a URL or a mail address; it may be empty."""
    return (
        f"Halftone/1.0 (+{'mailto:' * ('://' not in contact)}{contact})"
        if contact
        else "Halftone/1.0 (image compression)"
    )


def _request(method: str, target: Target, headers: Mapping[str, str]) -> bytes:
    """The head. Raises ValueError for a header that would not end with its line."""
    lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header contains a line break")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


async def _twice(call: Callable[[], Awaitable[T]]) -> T:
    """A connect failure is tried once more on the spot."""
    try:
        return await call()
    except ConnectFailure:
        return await call()
