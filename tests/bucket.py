"""An S3 server for tests: moto's in a process of its own, behind a proxy that judges signatures, counts and breaks.

moto believes every signature, so the proxy checks those of headers and of signed addresses as S3 does (AWS Signature
Version 4), by the host that was called, and answers with S3's error codes.
"""

import http.client
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx

from shared.blobs import Access, Blobs, connect
from shared.blobs.copy import create_bucket
from tests.signatures import refusal
from tests.stack import reserve_ports, until

KEY_ID, SECRET, REGION = "halftone-test", "secret-of-the-bucket", "eu-central-1"
BUCKET = "halftone"
HOP = {"connection", "transfer-encoding", "keep-alive", "server", "date"}
SLOW_DOWN = (503, "SlowDown")
INTERNAL = (500, "InternalError")


@dataclass(frozen=True)
class Call:
    """One call as S3 names it, `GetObject` or the like."""

    operation: str
    key: str
    method: str = ""


@dataclass
class Fault:
    """Breaks the next `times` calls of `operation`: an error, an answer that is lost, or one that is late."""

    operation: str
    error: tuple[int, str] | None = None
    lost: bool = False
    seconds: float = 0.0
    times: int = 1
    after: int = 0


@dataclass
class Bucket:
    """`calls` are those that arrived, broken ones too; `clock` is how far the server's clock is ahead."""

    port: int
    server_port: int
    calls: list[Call] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    clock: timedelta = timedelta()
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def public_endpoint(self) -> str:
        """Another name of the same server: what is signed for one is refused by the other."""
        return f"http://localhost:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """For processes that use it."""
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "HALFTONE_BLOB_PUBLIC_ENDPOINT": self.public_endpoint,
        }

    @property
    def count(self) -> Counter[str]:
        with self.lock:
            return Counter(call.operation for call in self.calls)

    def connect(self, url: str = f"s3://{BUCKET}", **access: Any) -> Blobs:
        """In this process."""
        given = Access(
            key_id=KEY_ID,
            secret=SECRET,
            region=REGION,
            endpoint=self.endpoint,
            public_endpoint=self.public_endpoint,
            allow_http=True,
            answer_seconds=5.0,
        )
        return connect(url, replace(given, **access))

    def empty(self) -> None:
        """As if it had just been made."""
        httpx.post(f"http://127.0.0.1:{self.server_port}/moto-api/reset").raise_for_status()
        self.calls.clear()
        self.faults.clear()
        self.clock = timedelta()
        create_bucket(self.connect(public_endpoint=None))
        self.calls.clear()

    def fault_of(self, call: Call) -> Fault | None:
        with self.lock:
            self.calls.append(call)
            for fault in self.faults:
                if fault.operation == call.operation and fault.times:
                    if fault.after:
                        fault.after -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None


class Handler(BaseHTTPRequestHandler):
    """Judges the call, breaks it if it is to be broken, and passes it on."""

    protocol_version = "HTTP/1.1"
    bucket: Bucket

    @classmethod
    def of(cls, bucket: Bucket) -> type[Self]:
        return type("Bound", (cls,), {"bucket": bucket})

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = _call(self.command, self.path)
        fault = self.bucket.fault_of(call)
        headers = dict(self.headers.items())
        if refused := refusal(self.command, self.path, headers, key=(KEY_ID, SECRET), clock=self.bucket.clock):
            self._error(*refused)
            return
        if fault and fault.error:
            self._error(*fault.error)
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.bucket.server_port, timeout=60)
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        sleep(fault.seconds if fault else 0)
        if fault and fault.lost:
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP | {"content-length"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        with suppress(ConnectionError):  # the client waited long enough
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any  # noqa: N815

    def _error(self, status: int, code: str) -> None:
        content = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>so says the test</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """The calls are counted, not printed."""


@contextmanager
def running_bucket() -> Iterator[Bucket]:
    """The server and the proxy, with an empty bucket."""
    port, server_port = reserve_ports(2)
    bucket = Bucket(port, server_port)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(server_port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    proxy = ThreadingHTTPServer(("127.0.0.1", port), Handler.of(bucket))
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        until(lambda: _answers(server_port), within=30)
        yield bucket
    finally:
        proxy.shutdown()
        proxy.server_close()
        server.terminate()
        server.wait(10)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/moto-api/").status_code < 500
    except httpx.TransportError:
        return False


def _call(method: str, path: str) -> Call:
    parts = urlsplit(path)
    key, query = unquote(parts.path.partition("/")[2].partition("/")[2]), dict(parse_qsl(parts.query, True))
    if key:
        names = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
        parted = "uploads" in query or "uploadId" in query
        return Call("Multipart" if parted else names.get(method, method), key, method)
    if method == "POST" and "delete" in query:
        return Call("DeleteObjects", "", method)
    return Call({"GET": "ListObjects", "PUT": "CreateBucket"}.get(method, method), "", method)
