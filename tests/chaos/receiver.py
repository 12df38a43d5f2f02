"""A webhook receiver that misbehaves as its URL says, keeps every POST, and asks the gateway at once what it shows.

`/hook/{how}/{key}`: the first POST of an event is treated as `how` says, every later one is answered 200.
"""

import json
import socket
import threading
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

SLOW_SECONDS = 6.0
"""Above the notifier's time-out in these runs."""
ASK_WITHIN = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A POST as it came. `shown` is the status that GET gave at that moment; None where the gateway did not say."""

    at: datetime
    path: str
    headers: dict[str, str]
    body: bytes
    shown: str | None
    run_shown: int | None

    @property
    def event_id(self) -> str:
        return self.headers.get("webhook-id", "")

    @property
    def data(self) -> dict[str, Any]:
        """The request that the body carries."""
        return dict(json.loads(self.body)["data"])


class Receiver:
    """Listens within `with`, on any free port unless one is given; `gateway` may be set later."""

    def __init__(self, port: int = 0) -> None:
        self.gateway: str | None = None
        self._posts: list[Post] = []
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.receiver = self
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="receiver", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def posts(self) -> list[Post]:
        with self._lock:
            return list(self._posts)

    def keep(self, path: str, headers: dict[str, str], body: bytes) -> bool:
        """Keep a POST; whether it is the first of its event."""
        at = datetime.now(UTC)
        shown, run = self._ask(body)
        post = Post(at=at, path=path, headers=headers, body=body, shown=shown, run_shown=run)
        with self._lock:
            self._posts.append(post)
            self._seen[post.event_id] += 1
            return self._seen[post.event_id] == 1

    def wait(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def _ask(self, body: bytes) -> tuple[str | None, int | None]:
        try:
            request_id = json.loads(body)["data"]["request_id"]
            with urllib.request.urlopen(f"{self.gateway}/v1/requests/{request_id}", timeout=ASK_WITHIN) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            return (f"HTTP {error.code}" if error.code < 500 else None), None
        except (OSError, ValueError, KeyError):
            return None, None
        return found["status"], found["run"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    receiver: Receiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A notifier that was killed is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        first = self.server.receiver.keep(self.path, headers, body)
        how = self.path.split("/")[2]
        self._answer(how if first or how == "410" else "ok")

    def _answer(self, how: str) -> None:
        match how:
            case "close":
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            case "slow":
                self.server.receiver.wait(SLOW_SECONDS)
                self._head(200)
            case "302":
                self._head(302, location="/hook/ok/elsewhere")
            case "500" | "410":
                self._head(int(how))
            case _:
                self._head(200)

    def _head(self, status: int, *, location: str | None = None) -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""
