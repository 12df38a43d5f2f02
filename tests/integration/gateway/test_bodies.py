"""Bodies that are too large or broken, through the real gateway to the real ingest, however they are sent."""

import http.client
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from services.ingest import body as ingest_body
from services.ingest.app import create
from services.ingest.settings import IngestSettings
from shared.http import connection
from shared.http.problems import TITLES
from tests.integration.gateway.conftest import caddy
from tests.serving import serving
from tests.stack import reserve_ports

LIMIT = 1_000_000
GATEWAY_LIMIT = 20_000_000
PATIENCE = 60  # seconds that the gateway has for a body
CSV = {"Content-Type": "text/csv"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """No database is reached for what is refused by its size."""
    settings = IngestSettings(
        database_url="postgresql://nobody@127.0.0.1:1/nothing",
        blob_url=tmp_path_factory.mktemp("blobs").as_uri(),
        max_upload_bytes=LIMIT,
    )
    (port,) = reserve_ports(1)
    with serving(create(settings)) as inner:
        at = urlsplit(inner).port or 0
        folder, max_body = tmp_path_factory.mktemp("gateway"), str(GATEWAY_LIMIT)
        with caddy(folder, port, ingest=at, status=at, max_body=max_body, body_seconds=PATIENCE):
            yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/v1/requests", "/upload"])
def test_a_client_that_sends_all_before_it_reads_gets_the_answer(address: str, path: str, *, chunked: bool) -> None:
    url = urlsplit(address)
    for _ in range(3):
        connection = http.client.HTTPConnection(url.hostname or "", url.port)
        body = _blocks(4 * LIMIT) if chunked else b"x" * (4 * LIMIT)
        connection.request("POST", path, body, CSV, encode_chunked=chunked)
        answer = connection.getresponse()
        assert (answer.status, b"1 MB" in answer.read()) == (413 if path != "/upload" else 400, True)
        connection.close()


@pytest.mark.parametrize("size", [GATEWAY_LIMIT + LIMIT // 2, 3 * GATEWAY_LIMIT])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("path", "status"), [("/v1/requests", 413), ("/upload", 400), ("/api/upload-csv/", 400)])
def test_a_body_above_the_limit_of_the_gateway_is_refused_too(
    address: str, size: int, path: str, status: int, *, chunked: bool
) -> None:
    for _ in range(3):
        body = _blocks(size) if chunked else b"x" * size
        answer = httpx.post(f"{address}{path}", content=body, headers=CSV, timeout=30)
        assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (status, status, "too_large")
        assert answer.json()["title"] == TITLES[status]


def test_a_form_that_is_too_large_is_413(address: str) -> None:
    for _ in range(3):
        answer = httpx.post(f"{address}/v1/requests", files={"file": ("a.csv", b"x" * (8 * LIMIT))}, timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Length: 100\r\n\r\nx",
        b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000,
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nmore\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nx",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 4094,  # as much as is read of a line
    ],
)
def test_a_body_that_is_cut_short_or_framed_wrongly_is_400(address: str, framed: bytes) -> None:
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port), timeout=10) as client:
        client.sendall(b"POST /v1/requests HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n" + framed)
        client.shutdown(socket.SHUT_WR)
        answer = client.makefile("rb").read()
    if answer.startswith(b"HTTP/1.1 499"):  # Caddy noticed first that no more will come, and holds the client for gone
        return
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in answer
    assert b"incomplete_upload" in answer


@pytest.mark.parametrize(("path", "status"), [("/v1/requests", 408), ("/upload", 400), ("/api/upload-csv/", 400)])
def test_a_silent_client_gets_an_answer_before_the_gateway_gives_up(
    address: str, monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    monkeypatch.setattr(ingest_body, "IDLE_TIMEOUT", 0.5)
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port), timeout=PATIENCE / 2) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n".encode()
            + b"Content-Length: 100000\r\n\r\nx"
        )
        answer = b""
        while b"slow_upload" not in answer:  # the connection is closed some seconds later
            answer += (received := client.recv(65_536))
            assert received, answer
    assert answer.startswith(f"HTTP/1.1 {status}".encode())
    assert b"Abandoned" not in answer


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"], ids=["", "expecting 100"])
@pytest.mark.parametrize("length", [4 * LIMIT, 10_000_000_000], ids=["above ours", "above the gateway's"])
@pytest.mark.parametrize("kind", [b"text/csv", b"multipart/form-data; boundary=x"])
@pytest.mark.parametrize(("path", "status"), [("/v1/requests", 413), ("/upload", 400), ("/api/upload-csv/", 400)])
def test_a_length_above_the_limit_is_refused_before_any_of_the_body_comes(
    address: str, monkeypatch: pytest.MonkeyPatch, path: str, status: int, kind: bytes, length: int, expect: bytes
) -> None:
    monkeypatch.setattr(connection, "DROP_IDLE_SECONDS", 0.2)
    url = urlsplit(address)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nContent-Type: ".encode()
        + kind
        + b"\r\n"
    )
    with socket.create_connection((url.hostname, url.port), timeout=PATIENCE / 2) as client:
        client.sendall(head + expect + b"\r\n")
        answer = client.makefile("rb").read().removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in answer.lower()
    assert b"too_large" in answer
    assert b"1 MB" in answer


def _blocks(size: int) -> Iterator[bytes]:
    yield from (b"x" * 100_000 for _ in range(size // 100_000))
