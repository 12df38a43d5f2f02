"""A host that drips costs a bounded number of steps of the loop, and ends with an error of its own."""

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared import errors
from shared.egress import Egress, connection, response
from shared.egress.connection import Connection
from shared.egress.loop import Batch, running_loop
from shared.egress.response import FREE_READS, ResponseReader
from tests.origin import Behaviour, Exchange, Origin, drip
from tests.stack import until
from tests.unit.shared.egress.conftest import PICTURE, at_most, failure, get, https_origin, post

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def endless(first: bytes, crumb: bytes) -> Behaviour:
    """As fast as the network takes it."""

    def answer(exchange: Exchange) -> None:
        exchange.send(first)
        while not exchange.stopping.is_set():
            exchange.send(crumb)
        exchange.keep = False

    return answer


DRIPS = [
    pytest.param(endless(CHUNKED, b"1\r\nx\r\n"), id="chunks of a byte"),
    pytest.param(endless(b"HTTP/1.1 200 OK\r\nX: ", b"x"), id="an endless header"),
    pytest.param(endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), id="endless interim answers"),
    pytest.param(endless(b"", b"HTTP/1.1 100 Continue\r\nLink: a\r\n\r\n"), id="endless 100"),
]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of every step in which the loop read some."""
    counts: list[int] = []
    received = ResponseReader.received

    def counted(reader: ResponseReader, count: int) -> bool:
        counts.append(count)
        return received(reader, count)

    monkeypatch.setattr(ResponseReader, "received", counted)
    return counts


def loop_seconds() -> float:
    """CPU time of the loop's thread so far."""

    async def read() -> float:
        return time.thread_time()

    batch = Batch([read()])
    running_loop().call_soon_threadsafe(batch.start)
    [(_, seconds, _)] = batch.outcomes()
    assert isinstance(seconds, float)
    return seconds


@pytest.mark.parametrize("behaviour", DRIPS)
def test_a_dripping_image_host_ends_after_few_steps(
    origin: Origin, egress: Egress, steps: list[int], behaviour: Behaviour
) -> None:
    begun = loop_seconds()
    error = failure(egress, origin.on("/a", behaviour), seconds=60)
    assert error.code == "http_protocol"
    assert len(steps) <= FREE_READS + sum(steps) // 256 + 1
    assert sum(steps) < 2_000_000
    assert loop_seconds() - begun < 2, "seconds of CPU"


@pytest.mark.parametrize("behaviour", DRIPS[1:])
def test_a_dripping_webhook_receiver_ends_after_few_steps(
    origin: Origin, egress: Egress, steps: list[int], behaviour: Behaviour
) -> None:
    with pytest.raises(errors.HttpProtocol):
        post(egress, origin.on("/hook", behaviour), seconds=60)
    assert len(steps) <= FREE_READS + sum(steps) // 256 + 1
    assert sum(steps) < 2_000_000


def test_a_webhooks_status_is_known_although_its_body_drips(
    origin: Origin, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response, "EXCERPT_SECONDS", 0.2)
    with at_most(30):
        assert post(egress, origin.on("/hook", drip(PICTURE, every=0.05)), seconds=60).status_code == 200


def test_a_crawling_host_is_given_up_long_before_the_deadline(
    origin: Origin, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(connection, "CHECK_SECONDS", 0.1)
    error = failure(egress, origin.on("/a", drip(PICTURE, every=0.05)), seconds=600)
    assert (error.code, error.detail) == ("timeout", "127.0.0.1 sent less than 1000 bytes a second.")


class Clock:
    """In place of the loop's, for connections: it goes on only while a host pauses, however slow the machine is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.received = self.checks = 0
        received, check = ResponseReader.received, Connection._check

        def counted(reader: ResponseReader, count: int) -> bool:
            is_over = received(reader, count)
            self.received += count
            return is_over

        def checked(connection: Connection) -> None:
            check(connection)
            self.checks += 1

        monkeypatch.setattr(ResponseReader, "received", counted)
        monkeypatch.setattr(Connection, "_check", checked)
        replaced = {**vars(asyncio), "get_running_loop": lambda: self}
        monkeypatch.setattr(connection, "asyncio", SimpleNamespace(**replaced))

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    def time(self) -> float:
        return self.now

    def call_at(self, _: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(0.003, callback)

    def host(self, *pieces: bytes, every: float) -> Behaviour:
        """Each piece after a pause; the next one once this one was read, and its connection checked since."""

        def answer(exchange: Exchange) -> None:
            sent, stopping = 0, exchange.stopping.is_set
            for piece in pieces:
                checks, self.now = self.checks, self.now + every
                until(lambda checks=checks: self.checks > checks or stopping(), every=0.001)  # type: ignore[misc]
                exchange.send(piece)
                sent += len(piece)
                until(lambda sent=sent: self.received >= sent or stopping(), every=0.001)  # type: ignore[misc]

        return answer


@pytest.mark.parametrize(
    ("size", "every"),
    [
        pytest.param(100_000, 30.0, id="late"),
        pytest.param(5000, 0.1, id="50 kB a second"),
        pytest.param(250, 0.1, id="2.5 kB a second in small pieces"),
        pytest.param(1000, 0.9, id="1.1 kB a second"),
    ],
)
def test_a_slow_but_honest_host_is_waited_for(
    origin: Origin, egress: Egress, monkeypatch: pytest.MonkeyPatch, size: int, every: float
) -> None:
    clock, picture = Clock(monkeypatch), PICTURE[:100_000]
    pieces = [picture[start : start + size] for start in range(0, len(picture), size)]
    pieces[0] = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + pieces[0]
    assert get(egress, origin.on("/a", clock.host(*pieces, every=every)), seconds=600) == picture


def test_by_the_same_clock_a_host_that_is_slower_is_given_up(
    origin: Origin, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    host = clock.host(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", *[b"x" * 900] * 111, every=1)
    assert failure(egress, origin.on("/a", host), seconds=600).code == "timeout"
    assert 90 < clock.now < 112


def test_tls_in_records_of_a_byte_ends_soon(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CHECK_SECONDS", 0.1)
    records = [b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n", *[b"x"] * 300_000]
    tls = ssl.create_default_context(cafile=str(certificate))
    with (
        https_origin(certificate, *records, hold=True) as port,
        closing(Egress([f"localhost:{port}"], tls=tls)) as egress,
    ):
        error = failure(egress, f"https://localhost:{port}/a", seconds=60, max_bytes=20_000_000)
    assert (error.code, error.detail) == ("http_protocol", "localhost sent its answer in too many small pieces.")
