"""The gateway before two replicas of each service: who is asked, what is repeated, what is logged and compressed."""

import gzip
import json
import socket
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest

from tests.integration.gateway.conftest import HTTPS_PORT, Gateway, Upstream, caddy
from tests.stack import reserve_ports, until

LOG = "log"


class Hanging:
    """Accepts, reads, and never answers; counts what it was sent."""

    def __init__(self, port: int) -> None:
        self.calls: list[bytes] = []
        self._stopped = Event()
        self._held: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", port))
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._held.append(connection)
            self.calls.append(connection.recv(1000))

    def close(self) -> None:
        self._stopped.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._held:
            connection.close()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Upstream, Path]]:
    """The gateway with a second replica of status, and its folder; ingest's second replica does not exist."""
    port, ingest_at, first, second, absent = reserve_ports(5)
    ingest, status, other = Upstream("ingest", ingest_at), Upstream("status", first), Upstream("other", second)
    folder = tmp_path_factory.mktemp("gateway")
    for upstream in (ingest, status, other):
        upstream.open()
    ingests, statuses = f"{ingest_at} {absent}", f"{first} {second}"
    with caddy(folder, port, ingest=ingests, status=statuses, max_body="1MB"), httpx.Client() as client:
        yield Gateway(f"http://127.0.0.1:{port}", folder, ingest, status, client), other, folder
    for upstream in (ingest, status, other):
        upstream.close()


def _who(gateway: Gateway, method: str = "GET", path: str = "/v1/requests") -> str:
    answer = gateway.client.request(method, gateway.url + path, timeout=20)
    assert answer.status_code == 200
    return str(answer.json()["service"])


def test_all_replicas_are_asked_and_one_that_is_gone_is_passed_over(two: tuple[Gateway, Upstream, Path]) -> None:
    gateway, other, _ = two
    assert {_who(gateway) for _ in range(8)} == {"status", "other"}
    other.close()
    try:
        assert {_who(gateway) for _ in range(8)} == {"status"}
        assert {gateway.get("/healthz").status_code for _ in range(4)} == {200}
    finally:
        other.open()
    until(lambda: _who(gateway) == "other", within=20)


def test_a_post_passes_over_a_replica_that_does_not_exist(two: tuple[Gateway, Upstream, Path]) -> None:
    gateway, _, _ = two
    assert {_who(gateway, "POST") for _ in range(4)} == {"ingest"}


def test_a_replica_that_hangs_gets_no_more_calls(two: tuple[Gateway, Upstream, Path]) -> None:
    gateway, other, _ = two
    other.close()
    hanging = Hanging(other.port)
    try:
        until(
            lambda: sum(b"/healthz" in call for call in hanging.calls) > 12, within=60
        )  # three failures of three handlers
        before = len([call for call in hanging.calls if b"/v1/" in call])
        assert {_who(gateway) for _ in range(6)} == {"status"}
        assert len([call for call in hanging.calls if b"/v1/" in call]) == before
    finally:
        hanging.close()
        other.open()
    until(lambda: _who(gateway) == "other", within=20)


def test_what_broke_off_is_repeated_for_a_get_alone(two: tuple[Gateway, Upstream, Path]) -> None:
    gateway, other, _ = two
    gateway.ingest.broken.clear()
    assert gateway.client.post(f"{gateway.url}/broken", content=b"x", timeout=20).status_code == 503
    assert gateway.ingest.broken == ["POST"]
    gateway.client.get(f"{gateway.url}/broken", timeout=20)
    assert {*gateway.status.broken, *other.broken} == {"GET"}
    assert len(gateway.status.broken + other.broken) > 1


class Ending(BaseHTTPRequestHandler):
    """Keeps a connection, and ends it when a second call is read from it, as a stopping service may."""

    protocol_version = "HTTP/1.1"
    calls: list[str]

    def setup(self) -> None:
        super().setup()
        self.answered = False

    def do_POST(self) -> None:
        self.calls.append(self.headers["X-Request-Id"])
        self.close_connection = self.answered
        if not self.answered:
            self.answered = True
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_DELETE = do_POST  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "one"}], ids=["", "with a key"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_no_call_that_changes_something_is_sent_twice(tmp_path: Path, method: str, headers: dict[str, str]) -> None:
    """Go repeats a DELETE, and a POST with an `Idempotency-Key`, where a connection ends that was used before."""
    (port,) = reserve_ports(1)
    calls = list[str]()
    handler = type("Handler", (Ending,), {"calls": calls})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, httpx.Client() as client:
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        at = server.server_port
        with caddy(tmp_path, port, ingest=at, status=at, max_body="1MB", checks=False):
            url = f"http://127.0.0.1:{port}/v1/requests"
            answers = [client.request(method, url, headers=headers) for _ in range(4)]
        server.shutdown()
    assert [answer.status_code for answer in answers] == [200] * 4
    assert calls == [answer.headers["X-Request-Id"] for answer in answers]


def test_the_log_has_no_header_no_query_and_no_name_of_a_rendition(two: tuple[Gateway, Upstream, Path]) -> None:
    gateway, _, folder = two
    secret = {"Authorization": "Bearer ht_a_hidden", "Cookie": "a=hidden", "Idempotency-Key": "hidden"}
    answer = gateway.client.get(f"{gateway.url}/v1/requests?page_token=hidden", headers=secret)
    for out in ("/out/", "%2Fout%2F", "/%6Fut/", "/OUT/"):
        raw = f"/files/01234567-0123-0123-0123-0123456789ab{out}{'d' * 64}.jpg?hidden".encode()
        gateway.client.get(httpx.URL(gateway.url).copy_with(raw_path=raw))
    log = folder / LOG
    until(lambda: log.read_text().count("/files/") == 4)
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{") and '"request":' in line]
    (line,) = (one for one in lines if one.get("uuid") == answer.headers["X-Request-Id"])
    assert (line["request"]["method"], line["request"]["uri"], line["status"]) == ("GET", "/v1/requests", 200)
    assert line["request"].keys().isdisjoint({"headers", "tls"})
    assert line["request"]["remote_ip"] == "127.0.0.1"
    files = [one["request"]["uri"] for one in lines if one["request"]["uri"].startswith("/files/")]
    assert {file.rstrip("/") for file in files} == {"/files/01234567-0123-0123-0123-0123456789ab"}
    assert "hidden" not in log.read_text()
    assert "dddd" not in log.read_text()


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("kind", ["application/json", "text/csv; charset=utf-8", "application/problem+json"])
def test_json_and_csv_are_compressed(two: tuple[Gateway, Upstream, Path], kind: str, encoding: str) -> None:
    gateway, _, _ = two
    head = {"Accept-Encoding": encoding}
    with gateway.client.stream("GET", f"{gateway.url}/typed?{kind}", headers=head) as answer:
        assert answer.headers["Content-Encoding"] == encoding
        body = b"".join(answer.iter_raw())
    assert len(body) < 2000
    if encoding == "gzip":
        assert gzip.decompress(body) == b"x" * 5000


def test_head_says_the_length_of_what_a_get_would_bring(two: tuple[Gateway, Upstream, Path]) -> None:
    gateway, _, _ = two
    answer = gateway.client.head(f"{gateway.url}/typed?application/json", headers={"Accept-Encoding": "gzip"})
    assert (answer.headers["Content-Length"], answer.headers.get("Content-Encoding")) == ("5000", None)


@pytest.mark.parametrize("kind", ["image/jpeg", "application/zip", "text/event-stream"])
def test_pictures_archives_and_events_are_not(two: tuple[Gateway, Upstream, Path], kind: str) -> None:
    gateway, _, _ = two
    answer = gateway.client.get(f"{gateway.url}/typed?{kind}", headers={"Accept-Encoding": "gzip, zstd"})
    assert "Content-Encoding" not in answer.headers
    assert answer.content == b"x" * 5000


def test_an_event_arrives_before_the_stream_ends(two: tuple[Gateway, Upstream, Path]) -> None:
    gateway, other, _ = two
    with gateway.client.stream("GET", f"{gateway.url}/events", timeout=20) as answer:
        chunks = answer.iter_raw()
        assert next(chunks) == b"data: 1\n\n"
        gateway.status.go_on.set()
        other.go_on.set()
        assert b"".join(chunks) == b"data: 2\n\n"


def test_a_domain_means_https_with_hsts_and_http_leads_there(tmp_path: Path) -> None:
    port, ingest_at, status_at = reserve_ports(3)
    ingest, status = Upstream("ingest", ingest_at), Upstream("status", status_at)
    ingest.open()
    status.open()
    with caddy(tmp_path, port, ingest=ingest_at, status=status_at, max_body="1MB", site="shop.example.test"):
        root = tmp_path / "caddy/pki/authorities/local/root.crt"
        until(root.exists)
        head = {"Host": "shop.example.test"}
        plain = httpx.get(f"http://127.0.0.1:{port}/v1/requests?a=1", headers=head)
        assert (plain.status_code, plain.headers["Location"]) == (308, "https://shop.example.test/v1/requests?a=1")
        assert "Strict-Transport-Security" not in plain.headers
        assert httpx.get(f"http://127.0.0.1:{port}/healthz", headers={"Host": "gateway"}).status_code == 200
        other = httpx.get(f"http://127.0.0.1:{port}/v1/requests", headers={"Host": "evil.example"})
        assert (other.status_code, other.headers["Location"]) == (308, "https://evil.example/v1/requests")
        name = {"sni_hostname": "shop.example.test"}
        with httpx.Client(verify=ssl.create_default_context(cafile=str(root))) as client:
            for path, wanted in (("/v1/requests", 200), ("/metrics", 404)):
                answer = client.get(f"https://127.0.0.1:{HTTPS_PORT}{path}", headers=head, extensions=name)
                assert answer.status_code == wanted
                assert answer.headers.get_list("Strict-Transport-Security") == ["max-age=31536000"]
            for host in ("evil.example", "gateway"):  # no service, and no health, by another name
                answer = client.get(f"https://127.0.0.1:{HTTPS_PORT}/healthz", headers={"Host": host}, extensions=name)
                assert answer.content == b""
    ingest.close()
    status.close()
