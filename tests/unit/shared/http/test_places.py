"""Slow clients do not shut others out: real sockets, each of a client whose address the gateway states."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client import REGISTRY
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from shared.http.connection import Backpressure
from shared.http.limits import ConcurrencyLimit, client_address
from shared.http.places import PATIENCE, Kind, Place, Places
from tests.serving import WITHOUT_TLS, serving
from tests.stack import until

SMALL = 16 * 1024
LIMIT = 5
UPLOAD = "POST /v1/requests"
DOWNLOAD = "GET /v1/requests/1/outputs.zip"
EVENTS = "GET /v1/requests/1/events"
CALL = "GET /v1/requests/1"
KINDS = pytest.mark.parametrize("call", [UPLOAD, DOWNLOAD, EVENTS, CALL])


class Service:
    """Counts what it has in progress; its answers have no end, unless the address begins with 10."""

    def __init__(self) -> None:
        self.in_progress = 0
        routes = [
            Route("/v1/requests", self.upload, methods=["POST"]),
            Route("/v1/requests/1/events", self.events),
            Route("/v1/requests/1/outputs.zip", self.download),
            Route("/v1/requests/1", self.download),
        ]
        self._routes = Starlette(routes=routes)
        self.app = Backpressure(ConcurrencyLimit(self.count, limit=LIMIT))

    async def count(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.in_progress += scope["type"] == "http"
        try:
            await self._routes(scope, receive, send)
        finally:
            self.in_progress -= scope["type"] == "http"

    async def upload(self, http_request: HttpRequest) -> Response:
        try:
            return PlainTextResponse(str(len(await http_request.body())))
        except ClientDisconnect:
            return PlainTextResponse("gone")

    async def download(self, http_request: HttpRequest) -> Response:
        return StreamingResponse(self.chunks(http_request))

    async def events(self, http_request: HttpRequest) -> Response:
        return EventSourceResponse(self.chunks(http_request))

    async def chunks(self, http_request: HttpRequest) -> AsyncIterator[str]:
        while True:
            yield "x" * 8192
            if honest(http_request):
                return
            # Sending to a connection that has gone waits for nothing, and the loop must notice that it has.
            await asyncio.sleep(0.05 if http_request.url.path.endswith("/events") else 0)


def honest(http_request: HttpRequest) -> bool:
    return client_address(http_request.scope).startswith("10.")


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    with serving(service.app, send_buffer=SMALL) as address:
        yield address


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in Kind:
        monkeypatch.setitem(PATIENCE, kind, 0.3)


@contextmanager
def begun(address: str, call: str, client: str) -> Iterator[socket.socket]:
    """A call whose body does not come, or whose answer is not read."""
    url = urlsplit(address)
    head = f"{call} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n"
    head += "Content-Length: 100000000\r\n\r\nx" if call == UPLOAD else "\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        connection.settimeout(20)
        connection.connect((url.hostname, url.port))
        connection.sendall(head.encode())
        yield connection


def status(address: str, call: str, client: str) -> int:
    method, path = call.split()
    headers = {"X-Forwarded-For": f"203.0.113.9, {client}"}
    content = b"ab" if method == "POST" else None
    return httpx.request(method, address + path, headers=headers, content=content, verify=WITHOUT_TLS).status_code


def ended(call: str) -> float:
    kind = {UPLOAD: "upload", DOWNLOAD: "download", EVENTS: "events", CALL: "call"}[call]
    return REGISTRY.get_sample_value("halftone_gave_way_total", {"kind": kind}) or 0


@KINDS
def test_one_client_holds_a_part_of_the_places(service: Service, address: str, call: str) -> None:
    with ExitStack() as stack:
        for _ in range(LIMIT):
            stack.enter_context(begun(address, call, "192.0.2.1"))
        until(lambda: service.in_progress == 2)
        assert status(address, call, "192.0.2.1") == 429
        assert status(address, call, "10.0.0.1") == 200


@KINDS
def test_the_oldest_slow_one_gives_way_when_all_places_are_taken(
    service: Service, address: str, impatient: None, call: str
) -> None:
    before = ended(call)
    with ExitStack() as stack:
        slow = [stack.enter_context(begun(address, call, f"192.0.2.{number}")) for number in range(LIMIT)]
        until(lambda: service.in_progress == LIMIT)
        until(lambda: status(address, call, "10.0.0.1") == 200)
        assert ended(call) == before + 1
        until(lambda: service.in_progress == LIMIT - 1)
        until(lambda: closed(slow[0]))


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1 << 16) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("call", [UPLOAD, DOWNLOAD, CALL])
def test_a_client_that_is_fast_is_never_ended(
    service: Service, address: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """For longer than the patience, which is longer than a busy machine may keep a client from its work."""
    patience = 2.0
    for kind in Kind:
        monkeypatch.setitem(PATIENCE, kind, patience)
    stop = threading.Event()
    before = ended(call)

    def move(connection: socket.socket) -> None:
        while not stop.wait(0.01):
            if call == UPLOAD:
                connection.sendall(b"x" * 300)  # 30 kB/s, three times SLOW
            else:
                connection.recv(1 << 16)

    with ExitStack() as stack:
        fast = [stack.enter_context(begun(address, call, f"192.0.2.{number}")) for number in range(LIMIT)]
        movers = [threading.Thread(target=move, args=(connection,)) for connection in fast]
        for mover in movers:
            mover.start()
        until(lambda: service.in_progress == LIMIT)
        pauses = int(1.3 * patience / 0.1)
        answers = [status(address, call, "10.0.0.1") for _ in range(pauses) if not stop.wait(0.1)]
        stop.set()
        for mover in movers:
            mover.join()
    assert (set(answers), ended(call)) == ({503}, before)


def held(places: Places, *owners: str) -> Place:
    place = places.take(owners, lambda: None)
    assert isinstance(place, Place)
    return place


def test_the_client_with_the_most_streams_gives_way_for_one_that_has_fewer() -> None:
    places = Places(Kind.EVENTS, 5)
    first, *greedy = held(places, "a"), held(places, "b"), held(places, "b"), held(places, "c"), held(places, "d")
    assert not isinstance(places.take(["e"], lambda: None), Place)  # none is old enough
    for place in (first, *greedy):
        place.since -= PATIENCE[Kind.EVENTS]

    held(places, "e")

    assert [place.gave_way for place in (first, *greedy)] == [False, True, False, False, False]
    assert not isinstance(places.take(["b"], lambda: None), Place)  # no other has more


def test_a_request_that_waits_for_the_server_is_not_slow(impatient: None) -> None:
    place = held(Places(Kind.UPLOAD, 1), "a")
    with place.waiting():
        place._patience = -1
        assert place.is_slow()
    assert not place.is_slow()


def test_a_place_that_was_left_is_free_for_its_account_and_its_address() -> None:
    places = Places(Kind.CALL, 4)
    place = held(places, "address", "account")
    assert not isinstance(places.take(["other", "account"], lambda: None), Place)
    assert not isinstance(places.take(["address"], lambda: None), Place)
    places.leave(place)
    places.leave(place)
    held(places, "address", "account")
    assert len(places._count) == 2


@pytest.mark.parametrize(
    ("stated", "client"),
    [
        ([], "127.0.0.1"),
        ([b"192.0.2.7"], "192.0.2.7"),
        ([b"198.51.100.1, 192.0.2.7"], "192.0.2.7"),
        ([b"198.51.100.1", b"192.0.2.7"], "192.0.2.7"),
        ([b"2001:db8:1:2:3::4"], "2001:db8:1:2::/64"),
        ([b"::ffff:192.0.2.7"], "192.0.2.7"),
        ([b"unknown" * 100], ("unknown" * 100)[:64]),
    ],
)
def test_the_client_is_the_address_that_the_gateway_stated_last(stated: list[bytes], client: str) -> None:
    scope: Scope = {"client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", value) for value in stated]}
    assert client_address(scope) == client
