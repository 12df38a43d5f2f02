"""Limits on concurrency: of HTTP requests by kind, and of costly work that may wait in a queue."""

import asyncio
import contextlib
from collections import Counter as Tally
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address, IPv6Network, ip_address

from prometheus_client import Counter
from starlette.requests import Request as HttpRequest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.caller import caller_of
from shared.http.connection import abort, pieces
from shared.http.paths import UPLOADS
from shared.http.places import BUSY, TOO_MANY, Kind, Place, Places
from shared.http.problems import Problem
from shared.log import get_logger

log = get_logger(__name__)
REFUSED = Counter("halftone_refused_total", "Calls that a limit refused.", ["limit", "kind"])
TOO_SLOW = Problem(
    503, "busy", "The upload was slow while others waited for its place; send it again.", headers={"Retry-After": "5"}
)
PROBES = ("/healthz", "/readyz", "/metrics")
DOWNLOADS = ("/outputs.zip", "/output.csv", "/source")


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
        place = self._places[kind].take(_owners(scope), _ending(receive))
        if isinstance(place, Problem):
            REFUSED.labels("places" if place is BUSY else "share", kind.name.lower()).inc()
            await place.response()(scope, receive, send)
            return
        scope["place"] = place
        try:
            watched = Watched(place, receive, send)
            await self.app(scope, watched.receive, watched.send)
        except GaveWay:
            pass
        finally:
            self._places[kind].leave(place)
            if place.gave_way:
                log.info("gave_way", path=scope["path"][:500])


class Watched:
    """The messages of a request, by which its place knows how fast its client is."""

    def __init__(self, place: Place, receive: Receive, send: Send) -> None:
        self._place = place
        self._receive = receive
        self._send = send
        self._comes = True
        self._refused = False

    async def receive(self) -> Message:
        """While the body comes; later calls wait for the end of the connection.

        Raises:
            Problem: 503 once the place is given to another; the connection is left for the answer.

        """
        if not self._comes:
            return await self._receive()
        with self._place.waiting():
            message = await self._unless_ended()
        if message is None or self._place.gave_way:
            self._comes, self._refused = False, True
            raise TOO_SLOW
        self._place.moved(_size(message))
        self._comes = message.get("more_body", False)
        return message

    async def _unless_ended(self) -> Message | None:
        place, loop = self._place, asyncio.get_running_loop()
        abort = place.end
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None) as waiting:
                place.end = lambda: _soon(loop, _time_out, waiting)
                try:
                    return await self._receive()
                finally:
                    place.end = abort
        return None

    async def send(self, message: Message) -> None:
        for piece in pieces(message):
            with self._place.waiting():
                await self._send(piece)
            self._place.moved(_size(piece))
            if self._place.gave_way and not self._refused:
                raise GaveWay


def _time_out(waiting: asyncio.Timeout) -> None:
    with contextlib.suppress(RuntimeError):  # what came meanwhile is not used
        waiting.reschedule(0)


def _soon(loop: asyncio.AbstractEventLoop, function: Callable[..., None], argument: object) -> None:
    """From any thread."""
    loop.call_soon_threadsafe(function, argument)


def _size(message: Message) -> int:
    return len(message.get("body", b""))


def _ending(receive: Receive) -> Callable[[], None]:
    loop = asyncio.get_running_loop()
    return lambda: _soon(loop, abort, receive)


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


def owner_of(http_request: HttpRequest) -> str:
    """Who takes a turn or waits: the account, or the address of a client without a key."""
    return _owners(http_request.scope)[-1]


class FairSemaphore:
    """`async with semaphore.turn(owner)`: so many at once, and those who wait are let in owner by owner."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # the owner that is next comes first

    def locked(self) -> bool:
        return not self._free

    @asynccontextmanager
    async def turn(self, owner: str) -> AsyncIterator[None]:
        await self._acquire(owner)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, owner: str) -> None:
        if self._free:
            self._free -= 1
            return
        let_in = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(let_in)
        try:
            await let_in
        except asyncio.CancelledError:
            if let_in.done() and not let_in.cancelled():
                self._release()
            raise

    def _release(self) -> None:
        while self._waiting:
            owner = next(iter(self._waiting))
            line = self._waiting.pop(owner)
            let_in = line.popleft()
            if line:
                self._waiting[owner] = line  # behind all others
            if not let_in.done():
                let_in.set_result(None)
                return
        self._free += 1


class QueuedLimit:
    """`async with limit.place(owner)` waits for one of the `running` places; owners take turns."""

    def __init__(self, what: str, *, running: int, waiting: int) -> None:
        self._what = what
        self._turns = FairSemaphore(running)
        self._may_wait = waiting
        self._waiting = Tally[str]()

    @asynccontextmanager
    async def place(self, owner: str) -> AsyncIterator[None]:
        """Raises Problem: 503 if `waiting` others wait already, 429 if half as many of the same owner do."""
        if self._turns.locked():
            if self._waiting.total() >= self._may_wait:
                detail = f"Too many {self._what} are waiting already; try again soon."
                raise Problem(503, "busy", detail, headers={"Retry-After": "30"})
            if self._waiting[owner] >= -(-self._may_wait // 2):
                raise TOO_MANY
        async with AsyncExitStack() as turn:
            self._waiting[owner] += 1
            try:
                await turn.enter_async_context(self._turns.turn(owner))
            finally:
                self._waiting[owner] -= 1
                self._waiting += Tally()  # forgets owners of whom none waits
            yield
