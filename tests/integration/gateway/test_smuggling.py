"""Requests that a gateway and a service might read differently, as raw bytes: through Caddy, and to uvicorn itself.

Nobody may get a second request to a service past the gateway. Each one that a service sees must therefore have the
client address that the gateway gives, an id that it gave to an answer, and that id alone.
"""

import logging
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from services.ingest.app import create as create_ingest
from services.ingest.settings import IngestSettings
from services.status.app import create as create_status
from services.status.settings import StatusSettings
from tests.integration.gateway.conftest import caddy
from tests.serving import serving
from tests.stack import reserve_ports

QUIET = 0.05
PATIENCE = 4.0
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/nothing"
HOST = b"Host: localhost\r\n"
POST = b"POST /v1/requests HTTP/1.1\r\n" + HOST + b"Content-Type: text/plain\r\n"
GET = b"GET /v1/nothing HTTP/1.1\r\n" + HOST
SECOND = b"DELETE /v1/second HTTP/1.1\r\n" + HOST + b"X-Request-Id: planted\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
END = b"0\r\n\r\n"
HIDDEN = b"%x\r\n" % len(SECOND) + SECOND + b"\r\n" + END


def _length(length: bytes | int) -> bytes:
    return b"Content-Length: %b\r\n" % (b"%d" % length if isinstance(length, int) else length)


def _both(encoding: bytes) -> bytes:
    """Who takes the encoding sees no body and a second request, who takes the length sees one body."""
    return POST + _length(len(END + SECOND)) + encoding + b"\r\n" + END + SECOND


PLAIN = {
    "CL.TE": _both(CHUNKED),
    "TE.CL": POST + CHUNKED + _length(4) + b"\r\n" + HIDDEN,
    "CL.TE on GET": GET + _length(len(END + SECOND)) + CHUNKED + b"\r\n" + END + SECOND,
}
OBFUSCATED = {
    f"TE.TE {number}": _both(encoding)
    for number, encoding in enumerate(
        [
            b"Transfer-Encoding: xchunked\r\n",
            b"Transfer-Encoding : chunked\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
            b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding:\tchunked\r\n",
            b"Transfer-Encoding: chunked, identity\r\n",
            b"Transfer-Encoding: identity, chunked\r\n",
            b"Transfer-Encoding: chunked, chunked\r\n",
            b"Transfer-Encoding: \x0bchunked\r\n",
            b"Transfer-Encoding: chunked\x00\r\n",
            b"Transfer-Encoding\x00: chunked\r\n",
            b"Transfer_Encoding: chunked\r\n",
            b" Transfer-Encoding: chunked\r\n",
            b"X: x\nTransfer-Encoding: chunked\r\n",
            b"X: x\rTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding:\r\n chunked\r\n",
            b'Transfer-Encoding: "chunked"\r\n',
            b"Transfer-Encoding: CHUNKED\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
            b"Connection: Content-Length\r\nTransfer-Encoding: chunked\r\n",
        ]
    )
}
AMBIGUOUS = [
    *(b"0\r\nContent-Length: %d" % len(SECOND), b"%d\r\nContent-Length: 0" % len(SECOND)),
    *(b"0, 44", b"+0", b"-1", b"0x0"),
    *(b"0 0", b"0;", b"", b"1e1", b"\xb2", b"0_0", b"99999999999999999999", b"18446744073709551616"),
    *(b"0\x00", b"\x0c0", b"0\r\n 44"),
]
LENGTHS = {f"CL {length!r}": POST + _length(length) + b"\r\n" + SECOND for length in AMBIGUOUS}
LINES = {
    "obs-fold": GET + b"X: a\r\n " + b"b\r\n\r\n",
    "obs-fold of the host": b"GET / HTTP/1.1\r\nHost:\r\n localhost\r\n\r\n",
    "bare LF": GET.replace(b"\r\n", b"\n") + b"\n",
    "bare LF before a second": GET + b"X: a\n\nDELETE /v1/second HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bare CR": GET + b"X: a\r\rDELETE /v1/second HTTP/1.1\r\r\r\n\r\n",
    "NUL in a value": GET + b"X: a\x00b\r\n\r\n",
    "NUL in a name": GET + b"X\x00: a\r\n\r\n",
    "space before the colon": GET + b"X : a\r\n\r\n",
    "no colon": GET + b"nothing\r\n\r\n",
    "empty name": GET + b": a\r\n\r\n",
    "no host": b"GET /v1/nothing HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: evil.example\r\n\r\n",
    "large header": GET + b"X: " + b"a" * 2_000_000 + b"\r\n\r\n",
    "many headers": GET + b"".join(b"X%d: a\r\n" % number for number in range(20_000)) + b"\r\n",
}
CHUNKS = {
    f"chunk {chunk[:30]!r}": POST + CHUNKED + b"\r\n" + chunk + SECOND
    for chunk in [
        b"%x;" % len(SECOND) + b"a" * 100_000 + b"\r\n" + SECOND + b"\r\n" + END[:-2],
        b"0;a=\n\r\n\r\n",
        b"1;a\nb\r\nx\r\n" + END,
        b"ffffffffffffffff\r\n",
        b"fffffffffffffffff\r\n",
        b"10000000000000000\r\n",
        b"-1\r\n",
        b"0x0\r\n\r\n",
        b"+0\r\n\r\n",
        b" 0\r\n\r\n",
        b"0 \r\n\r\n",
        b"1\r\nxx\r\n" + END,
        b"1\nx\n0\n\n",
        b"0\r\nHost: evil.example\r\nContent-Length: 44\r\n\r\n",
        b"0\r\n\x00: x\r\n\r\n",
    ]
}
TARGETS = {
    f"target {target!r}": target + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    for target in [
        b"GET http://evil.example/v1/nothing",
        b"GET http://evil.example:80@localhost/v1/requests",
        b"GET //evil.example/v1/requests",
        b"GET evil.example:80",
        b"CONNECT evil.example:80",
        b"CONNECT localhost:80",
        b"OPTIONS *",
        b"GET *",
        b"GET v1/requests",
        b"GET /v1/requests HTTP/1.1\tX",
        b"GET\t/v1/requests",
        b"GET /v1/nothing\x00",
        b"GET /v1/nothing\xff",
        b"G\x00T /v1/nothing",
        b"get /v1/nothing",
    ]
}
VERSIONS = {
    "0.9": b"GET /v1/nothing\r\n\r\n",
    "1.0": b"GET /v1/nothing HTTP/1.0\r\n" + HOST + b"\r\n",
    "1.0 chunked": b"POST /v1/requests HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n" + END + SECOND,
    "1.0 without host": b"GET /v1/nothing HTTP/1.0\r\n\r\n",
    "1.2": b"GET /v1/nothing HTTP/1.2\r\n" + HOST + b"\r\n",
    "2.0": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "9.9": b"GET /v1/nothing HTTP/9.9\r\n" + HOST + b"\r\n",
    "h2c": GET
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
    "h2c with a body": POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + _length(len(SECOND)) + b"\r\n" + SECOND,
    "websocket": GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
}
EARLY = {
    "body of a refused type": POST + _length(len(SECOND)) + b"\r\n" + SECOND,
    "body above every limit": POST.replace(b"plain", b"csv") + _length(200_000_000) + b"\r\n" + SECOND,
    "body of another page": POST + b"Origin: null\r\n" + _length(len(SECOND)) + b"\r\n" + SECOND,
    "body for another host": POST.replace(b"localhost", b"evil") + _length(len(SECOND)) + b"\r\n" + SECOND,
    "body of a GET": GET + _length(len(SECOND)) + b"\r\n" + SECOND,
    "body of another method": POST.replace(b"POST", b"PUT") + _length(len(SECOND)) + b"\r\n" + SECOND,
    "chunked body of a GET": GET + CHUNKED + b"\r\n" + HIDDEN,
    "expectation": POST + b"Expect: 100-continue\r\n" + _length(len(SECOND)) + b"\r\n" + SECOND,
    "unknown expectation": POST + b"Expect: 200-ok\r\n" + _length(len(SECOND)) + b"\r\n" + SECOND,
}
HOP_BY_HOP = {
    f"Connection: {name.decode()}": GET
    + b"X-Request-Id: planted\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: "
    + name
    + b"\r\n\r\n"
    for name in [b"X-Request-Id", b"X-Forwarded-For", b"Host", b"close, X-Forwarded-For, X-Request-Id"]
}
CASES = PLAIN | OBFUSCATED | LENGTHS | LINES | CHUNKS | TARGETS | VERSIONS | EARLY | HOP_BY_HOP


@dataclass
class Seen:
    """An application, and the calls that it saw."""

    app: ASGIApp
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self.calls.append((scope["path"], headers))
        await self.app(scope, receive, send)


@dataclass
class Doors:
    """Where one may knock: `gateway`, `ingest` and `status`, each on a port.

    A gateway that refuses a body may answer before the service reads the call, which is then seen in a later case. So
    `answered` has the ids of all answers of the gateway.
    """

    ports: dict[str, int]
    services: tuple[Seen, Seen]
    answered: set[str] = field(default_factory=set)

    @property
    def calls(self) -> list[tuple[str, dict[str, str]]]:
        return [call for service in self.services for call in service.calls]

    @property
    def unanswered(self) -> list[tuple[str, dict[str, str]]]:
        return [call for call in self.calls if call[1].get("x-request-id") not in self.answered]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    given = {"database_url": NO_DATABASE, "blob_url": tmp_path_factory.mktemp("blobs").as_uri(), "log_level": "warning"}
    ingest = Seen(create_ingest(IngestSettings.model_validate(given)))
    status = Seen(create_status(StatusSettings.model_validate(given)))
    (port,) = reserve_ports(1)
    with serving(ingest) as first, serving(status) as second:
        inner = {name: urlsplit(address).port or 0 for name, address in (("ingest", first), ("status", second))}
        folder = tmp_path_factory.mktemp("gateway")
        with caddy(
            folder, port, ingest=inner["ingest"], status=inner["status"], max_body="120MB", body_seconds=1, checks=False
        ):
            yield Doors({"gateway": port, **inner}, (ingest, status))


@pytest.fixture
def doors(opened: Doors) -> Doors:
    for service in opened.services:
        service.calls[:] = [call for call in service.calls if call[1].get("x-request-id") in opened.answered]
    return opened


def _sent(doors: Doors, door: str, data: bytes) -> bytes:
    """What is answered until the server closes, or is quiet and has answered every call that a service saw.

    The client does not close its side: both servers would take it for gone.
    """
    answer, deadline = b"", time.monotonic() + PATIENCE
    with socket.create_connection(("127.0.0.1", doors.ports[door]), timeout=10) as client:
        with suppress(ConnectionError):  # refused while it was sent
            client.sendall(data)
        client.settimeout(QUIET)
        while time.monotonic() < deadline:
            try:
                chunk = client.recv(65536)
            except TimeoutError:
                if len(_answers(answer)) >= max(1, len(doors.unanswered)):
                    break
            except ConnectionError:
                break
            else:
                if not chunk:
                    break
                answer += chunk
    return answer


def _answers(answer: bytes) -> list[tuple[int, bytes]]:
    """Status and head of each final answer."""
    heads = re.findall(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n", answer)
    return [(int(status), head.lower()) for status, head in heads if status[:1] != b"1"]


@pytest.mark.parametrize("case", CASES)
def test_the_gateway_passes_on_only_what_it_has_understood(doors: Doors, case: str) -> None:
    answer = _sent(doors, "gateway", CASES[case])
    given = [re.search(rb"x-request-id: (.{36})\r\n", head) for _, head in _answers(answer)]
    doors.answered |= {one[1].decode() for one in given if one}
    assert doors.unanswered == []
    ids = [headers["x-request-id"] for _, headers in doors.calls]
    assert len(ids) == len(set(ids)), "a call was sent twice"
    assert {headers["x-forwarded-for"] for _, headers in doors.calls} <= {"127.0.0.1"}
    _is_clean(answer)


@pytest.mark.parametrize("case", CASES)
def test_a_service_executes_no_second_request_either(doors: Doors, case: str, caplog: pytest.LogCaptureFixture) -> None:
    door = "ingest" if CASES[case].startswith(b"POST") else "status"
    with caplog.at_level(logging.WARNING):
        answer = _sent(doors, door, CASES[case])
    assert not [record for record in caplog.records if record.exc_info]
    assert len(doors.unanswered) <= 1
    assert [path for path, _ in doors.unanswered if path == "/v1/second"] == []
    _is_clean(answer)


def _is_clean(answer: bytes) -> None:
    """A problem document, or the one line or less with which a server refuses what it cannot read."""
    assert b"Traceback" not in answer
    assert b'File "' not in answer
    for status, head in _answers(answer):
        assert status < 500 or status in {501, 503, 505}, answer
        if status >= 400:
            assert re.search(rb"content-(type: (application/problem\+json|text/plain)|length: 0)", head), answer
