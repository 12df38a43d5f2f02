"""A host that drips costs a bounded number of steps of the loop, and ends with an error of its own."""

import ssl
import time
from contextlib import closing
from pathlib import Path

import pytest

from shared import errors
from shared.egress import Egress, connection, response
from shared.egress.loop import Batch, running_loop
from shared.egress.response import FREE_READS, ResponseReader
from tests.origin import Behaviour, Exchange, Origin, drip, late, status
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


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(late(status(200, PICTURE), seconds=1), id="late"),
        pytest.param(drip(PICTURE, every=0.02, size=1000), id="50 kB a second"),
        pytest.param(drip(PICTURE[:3000], every=0.04, size=100), id="2.5 kB a second in small pieces"),
    ],
)
def test_a_slow_but_honest_host_is_waited_for(
    origin: Origin, egress: Egress, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour
) -> None:
    monkeypatch.setattr(connection, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(connection, "CHECK_SECONDS", 0.1)
    assert PICTURE.startswith(get(egress, origin.on("/a", behaviour), seconds=60))


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
