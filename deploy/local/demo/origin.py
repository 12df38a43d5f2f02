"""The shop's web server: serves the pictures and takes the webhook, on 127.0.0.1 alone."""

import errno
import sys
from collections.abc import Callable, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self

from deploy.local.demo.failure import DemoFailed

Receive = Callable[[bytes, Mapping[str, str]], int]
TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
LARGEST_WEBHOOK = 20_000


class Origin(ThreadingHTTPServer):
    """`files` by name below `/images/`; `receivers` by path take a webhook and return the status to answer."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.receivers: dict[str, Receive] = {}
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "is taken" if error.errno == errno.EADDRINUSE else "may not be used by you"
            raise DemoFailed(f"port {port} on 127.0.0.1 {why}: set HALFTONE_DEMO_PORT to another one") from None

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: Origin

    def do_GET(self) -> None:
        name = self.path.removeprefix("/images/")
        body = self.server.files.get(name)
        if body is None:
            self._answer(404, b"There is no such picture.\n", "text/plain")
        else:
            self._answer(200, body, TYPES[name.rpartition(".")[2]])

    def do_POST(self) -> None:
        body = self.rfile.read(min(_length(self.headers), LARGEST_WEBHOOK))
        receive = self.server.receivers.get(self.path)
        # 410 ends the deliveries of an earlier demo that was interrupted.
        self._answer(receive(body, dict(self.headers.items())) if receive else 410, b"", "text/plain")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the standard library
        """Say nothing: the demo prints what matters."""

    def _answer(self, status: int, body: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _length(headers: Message) -> int:
    text = headers.get("Content-Length", "0")
    return int(text) if text.isdigit() else 0
