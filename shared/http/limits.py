"""Limits on concurrency: of HTTP requests by kind, and of costly work that may wait in a queue."""

from asyncio import Semaphore
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Network, ip_address

from prometheus_client import Counter
from starlette.requests import Request as HttpRequest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.backpressure import abort, pieces
from shared.http.caller import caller_of
from shared.http.paths import UPLOADS
from shared.http.places import BUSY, Kind, Place, Places
from shared.http.problems import Problem
from shared.log import get_logger

log = get_logger(__name__)
REFUSED = Counter("halftone_refused_total", "Calls that a limit refused.", ["limit", "kind"])
PROBES = ("/healthz", "/readyz", "/metrics")
DOWNLOADS = ("/outputs.zip", "/output.csv", "/source")
ABANDONED = {"Connection": "close", "X-Body-Abandoned": "1"}
"""Headers of an answer before the end of the body: the gateway sends it on at once, instead of after the body."""


class GaveWay(Exception):
    """The request was ended, so that another one has its place."""


class ConcurrencyLimit:
    """Gives each request one of the `limit` places of its kind; 429 or 503 where there is none.

    Each kind has places of its own, so that slow clients cannot starve other calls. An account or an address holds a
    part of them at most, and where they are all taken the oldest slow request is ended. Probes are always answered: a
    busy service must not be restarted for being busy.
    """

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self.app = app
        self._places = {kind: Places(kind, limit) for kind in Kind}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        kind = kind_of(scope)
        place = self._places[kind].take(_owners(scope), lambda: _end(scope, receive))
        if isinstance(place, Problem):
            REFUSED.labels("places" if place is BUSY else "share", kind.name.lower()).inc()
            await refuse(place, scope, receive, send)
            return
        try:
            await self.app(scope, _watched_receive(place, receive), _watched_send(place, send))
        except GaveWay:
            pass
        finally:
            self._places[kind].leave(place)


def _watched_receive(place: Place, receive: Receive) -> Receive:
    """While the body comes; later calls wait for the end of the connection."""
    comes = True

    async def watched() -> Message:
        nonlocal comes
        if not comes:
            return await receive()
        with place.waiting():
            message = await receive()
        place.moved(_size(message))
        comes = message.get("more_body", False)
        return message

    return watched


def _watched_send(place: Place, send: Send) -> Send:
    async def watched(message: Message) -> None:
        for piece in pieces(message):
            with place.waiting():
                await send(piece)
            place.moved(_size(piece))
            if place.gave_way:
                raise GaveWay

    return watched


def _size(message: Message) -> int:
    return len(message.get("body", b""))


def _end(scope: Scope, receive: Receive) -> None:
    log.info("gave_way", path=scope["path"][:500])
    abort(receive)


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the problem, before any body is read."""
    answer = problem.response()
    if kind_of(scope) is Kind.UPLOAD:
        answer.headers.update(ABANDONED)
    await answer(scope, receive, send)


def kind_of(scope: Scope) -> Kind:
    method, path = scope["method"], scope["path"]
    if method == "POST" and path in UPLOADS:
        return Kind.UPLOAD
    if path.endswith(DOWNLOADS) or path.startswith("/files/"):
        return Kind.DOWNLOAD
    return Kind.EVENTS if path.endswith("/events") else Kind.CALL


def _owners(scope: Scope) -> list[str]:
    caller = caller_of(HttpRequest(scope))
    address = client_address(scope)
    return [address] if caller.key_id is None else [address, str(caller.account_id)]


def client_address(scope: Scope) -> str:
    """The client's address as the gateway states it, last in X-Forwarded-For; without a gateway, the peer's.

    Of an IPv6 address the /64, which is what one client has.
    """
    stated = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    peer = scope.get("client")
    text = stated[-1].rpartition(b",")[2].strip().decode("latin-1") if stated else peer[0] if peer else "unknown"
    try:
        address = ip_address(text)
    except ValueError:
        return text[:64]
    if isinstance(address, IPv4Address):
        return text
    return str(address.ipv4_mapped or IPv6Network((address.packed[:8] + bytes(8), 64)))


class QueuedLimit:
    """`async with limit.place()` waits, first come first served, for one of the `running` places."""

    def __init__(self, what: str, *, running: int, waiting: int) -> None:
        self._what = what
        self._places = Semaphore(running)
        self._free_to_wait = waiting

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Raises Problem: 503 if `waiting` others wait already."""
        if self._places.locked() and not self._free_to_wait:
            detail = f"Too many {self._what} are waiting already; try again soon."
            raise Problem(503, "busy", detail, headers={"Retry-After": "30"})
        self._free_to_wait -= 1
        try:
            await self._places.acquire()
        finally:
            self._free_to_wait += 1
        try:
            yield
        finally:
            self._places.release()
