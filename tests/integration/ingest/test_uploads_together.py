"""What uploads may take together: disk, threads, and nothing of the event loop."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import chain, count, repeat
from threading import Event, Lock, Thread
from typing import Any

import httpx
import pytest
from python_multipart.multipart import MultipartParser
from starlette.applications import Starlette

from services.ingest import submit
from services.ingest.app import create
from services.ingest.manifest.read import parse_body
from services.ingest.settings import IngestSettings
from shared.db import Database
from shared.http.places import PATIENCE, Kind
from tests.integration.ingest.test_accept import CSV, post_csv
from tests.serving import serving
from tests.stack import until

LARGEST = 1_000_000
SPOOL = 6 * LARGEST
ADDRESSES = (f"192.0.2.{number % 256}" for number in count())
BEGUN = b"Content-Length: 1000000\r\n\r\nx"


@pytest.fixture
def app(settings: IngestSettings, database: Database) -> Starlette:
    return create(
        settings.model_copy(update={"max_upload_bytes": LARGEST, "spool_bytes": SPOOL, "max_images": 100_000})
    )


@pytest.fixture
def small(app: Starlette) -> Iterator[httpx.Client]:
    """Ingest with room for six of the largest uploads."""
    with serving(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


def begun(client: httpx.Client, rest: bytes, *, address: str | None = None) -> socket.socket:
    """A connection on which an upload was begun, each by a client of its own unless an `address` is given."""
    connection = socket.create_connection((client.base_url.host, client.base_url.port), timeout=20)
    head = "POST /v1/requests HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
    head += f"X-Forwarded-For: {address or next(ADDRESSES)}\r\n"
    connection.sendall(head.encode() + rest)
    return connection


def answer_of(connection: socket.socket, end: bytes) -> bytes:
    """What comes up to `end`; head and body of an answer may come apart."""
    answer = b""
    while end not in answer:
        answer += (received := connection.recv(4000))
        assert received, answer
    return answer


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize(
    ("begin", "last"),
    [
        (b"Content-Length: 1000000\r\n\r\nx", b"Content-Length: 1000000\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"),
    ],
    ids=["with a length", "chunked"],
)
def test_what_has_no_room_beside_others_is_503_and_taken_later(
    small: httpx.Client, app: Starlette, begin: bytes, last: bytes, *, form: bool
) -> None:
    with ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(begun(small, begin))
        until(lambda: app.state.context.space.reserved == SPOOL)
        refused = answer_of(stack.enter_context(begun(small, last)), b"\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 30" in refused.lower()
        answer = small.post("/v1/requests", files={"file": ("a.csv", CSV)}) if form else post_csv(small)
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    until(lambda: app.state.context.space.reserved == 0)
    assert post_csv(small).status_code == 202
    assert app.state.context.space.reserved == 0


def test_rows_that_take_more_than_their_file_are_counted(small: httpx.Client, app: Starlette) -> None:
    rows = "".join(f"{number},a,//b.c/{number % 9}\n" for number in range(45_000))
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(begun(small, BEGUN))
        until(lambda: app.state.context.space.reserved == 4 * LARGEST)
        answer = post_csv(small, "S. No.,Product Name,Input Image Urls\n" + rows.replace("//", "http://"))
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    until(lambda: app.state.context.space.reserved == 0)


def test_the_uploads_of_one_client_reserve_a_fourth_together(small: httpx.Client, app: Starlette) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(begun(small, BEGUN, address="192.0.2.1"))
        until(lambda: app.state.context.space.reserved == LARGEST)
        refused = answer_of(stack.enter_context(begun(small, BEGUN, address="192.0.2.1")), b"too_many_at_once")
        assert refused.startswith(b"HTTP/1.1 429")
        assert post_csv(small).status_code == 202


def test_slow_uploads_give_way_to_those_that_find_no_room(
    small: httpx.Client, app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as the room takes, which begin quickly and go on at 1 kB/s, for ever: each newcomer ends the oldest."""
    monkeypatch.setitem(PATIENCE, Kind.UPLOAD, 60)
    space, stop = app.state.context.space, Event()

    def drip(connections: list[socket.socket]) -> None:
        for pause in chain([0], repeat(1)):
            if stop.wait(pause):
                return
            for connection in connections:
                with suppress(OSError):
                    connection.sendall(b"x" * 1000)

    with ExitStack() as stack:
        slow = [stack.enter_context(begun(small, BEGUN)) for _ in range(6)]
        stack.callback(stop.set)
        until(lambda: space.reserved == SPOOL)
        assert post_csv(small).status_code == 503  # none is known to be slow yet
        monkeypatch.setitem(PATIENCE, Kind.UPLOAD, 0.5)  # from their next byte on
        Thread(target=drip, args=(slow,), daemon=True).start()
        time.sleep(0.6)
        for connection in slow[:3]:
            stack.enter_context(begun(small, BEGUN))
            answer = answer_of(connection, b"The upload was slow")
            assert answer.startswith(b"HTTP/1.1 503")
        until(lambda: space.reserved == SPOOL)


def recorded(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[bool]:
    """For each call, whether it was made where an event loop runs."""
    inner: Callable[..., Any] = getattr(owner, name)
    on_a_loop: list[bool] = []

    def outer(*arguments: Any, **options: Any) -> Any:
        on_a_loop.append(asyncio._get_running_loop() is not None)
        return inner(*arguments, **options)

    monkeypatch.setattr(owner, name, outer)
    return on_a_loop


def test_nothing_is_parsed_or_hashed_on_the_event_loop(small: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [
        recorded(monkeypatch, owner, name)
        for owner, name in [
            (MultipartParser, "write"),
            (submit, "parse_body"),
            (submit, "canonical"),
            (submit, "content_hash"),
            (submit, "read_manifest"),
        ]
    ]
    product = {"serial_number": "1", "name": "n", "image_urls": ["https://a.example/1.jpg"]}
    key = {"Idempotency-Key": "one"}
    assert small.post("/v1/requests", files={"file": ("a.csv", CSV)}, headers=key).status_code == 202
    assert small.post("/v1/requests", json={"products": [product]}, headers=key).status_code == 422
    assert [set(step) for step in steps] == [{False}] * 5


def test_few_uploads_are_parsed_at_a_time(small: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsed JSON takes up to 35 times its size, and every thread that computes delays the event loop."""
    inner, lock, now, most = parse_body, Lock(), 0, 0

    def slow(data: bytes) -> dict[str, Any]:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return inner(data)

    monkeypatch.setattr(submit, "parse_body", slow)
    product = {"serial_number": "1", "name": "n", "image_urls": ["https://a.example/1.jpg"]}
    with ThreadPoolExecutor(5) as threads:
        calls = [
            threads.submit(small.post, "/v1/requests", json=body, headers={"X-Forwarded-For": next(ADDRESSES)})
            for body in [{"products": [product]}] * 24
        ]
        assert {call.result().status_code for call in calls} == {202}
    assert 1 <= most <= 3
