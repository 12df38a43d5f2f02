"""https: the certificate is checked against the name, and the handshake is under the deadline too."""

import asyncio
import errno
import socket
import ssl
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace

import pytest

from shared.egress import Egress
from shared.egress import connection as module
from shared.egress.connection import Connection, Deadline
from shared.egress.response import ResponseReader
from shared.errors import ConnectFailure, FetchTimeout
from shared.urls import Target
from tests.unit.shared.egress.conftest import at_most, failure, https_origin

SECRET = b"secret" * 500_000
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(SECRET) + SECRET
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n" + SECRET
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SECRET), SECRET)


@pytest.mark.parametrize("answer", [LENGTH, UNTIL_CLOSE, CHUNKED], ids=["length", "until it closes", "chunks"])
def test_https_is_fetched_where_the_certificate_fits_the_name(certificate: Path, answer: bytes) -> None:
    with https_origin(certificate, answer) as port:
        tls = ssl.create_default_context(cafile=str(certificate))
        with closing(Egress([f"localhost:{port}"], tls=tls)) as egress:
            url = f"https://localhost:{port}/a"
            ended = egress.fetch_all([url] * 4, deadline_seconds=30, max_bytes=5_000_000)
            assert {one.position: one.outcome for one in ended} == dict.fromkeys(range(4), bytearray(SECRET))


@pytest.mark.parametrize(
    ("host", "known", "why"),
    [("127.0.0.1", True, "IP address mismatch"), ("localhost", False, "(self-signed certificate).")],
)
def test_another_name_or_an_unknown_authority_is_a_connect_failure(
    certificate: Path, host: str, *, known: bool, why: str
) -> None:
    tls = ssl.create_default_context(cafile=str(certificate)) if known else None
    with https_origin(certificate, LENGTH) as port:
        error = failure(Egress([f"{host}:{port}"], tls=tls), f"https://{host}:{port}/a")
    assert isinstance(error, ConnectFailure)
    assert error.detail.startswith(f"Could not connect to {host}: its certificate is not valid (")
    assert why in error.detail


def test_a_handshake_that_never_ends_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with at_most(5):
            error = failure(Egress([f"127.0.0.1:{port}"]), f"https://127.0.0.1:{port}/a", seconds=0.3)
    assert isinstance(error, FetchTimeout)


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n"]
)
def test_the_buffer_holds_all_that_tls_has_decrypted(head: bytes) -> None:
    """Otherwise uvloop hands on the rest in a later step, and not at all if the host has closed by then."""
    connection = Connection(Target.parse("https://shop.example/"))
    connection._reader = ResponseReader("shop.example", max_bytes=10_000_000)
    connection.get_buffer(-1)[: len(head)] = head
    connection.buffer_updated(len(head))
    for _ in range(20):
        assert len(connection.get_buffer(300_000)) >= 300_000
        connection.buffer_updated(100_000 if head else 0)


@pytest.mark.parametrize(("addresses", "seconds", "least"), [(16, 20.0, 2.0), (2, 60.0, 28.0), (16, 1.0, 0.0)])
def test_an_address_is_given_time_for_a_handshake_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch, addresses: int, seconds: float, least: float
) -> None:
    given: list[float] = []

    def timeout(seconds: float) -> asyncio.Timeout:
        given.append(seconds)
        return asyncio.timeout(None)

    async def refuse(*_: object) -> None:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    monkeypatch.setattr(module, "_connect", refuse)
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(timeout=timeout))
    many = tuple(ip_address(f"1.1.1.{number}") for number in range(addresses))
    target, tls = Target.parse("https://shop.example/"), ssl.create_default_context()
    dialling = module.dial(target, many, tls=tls, total=Deadline(100), connect=Deadline(seconds))
    with pytest.raises(ConnectFailure):
        asyncio.run(dialling)
    assert len(given) == addresses
    assert least <= given[0] <= seconds
