"""A small image host (and webhook receiver) on 127.0.0.1 that can misbehave in every way we promise to survive.

    with Origin() as origin:
        origin.add("/a.jpg", jpeg)                      # a good picture
        origin.on("/b.jpg", status(500), body(jpeg))    # a 500, then the picture for good
        egress.fetch(origin.url("/a.jpg"), ...)
        assert origin.hits("/a.jpg") == 1

Behaviours are functions of an `Exchange`; the last one given for a path stays. Keep-alive, one thread a connection.
`python -m tests.origin FOLDER` serves a folder's files until it is interrupted.
"""

import socket
import struct
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

OK = "200 OK"


@dataclass(slots=True)
class Received:
    """A request as it came. Header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Exchange:
    """A request and the means to answer it. `keep` is whether the connection lives on."""

    request: Received
    sock: socket.socket
    stopping: threading.Event
    keep: bool = True

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the origin lives."""
        if self.stopping.wait(seconds):
            raise ConnectionAbortedError


Behaviour = Callable[[Exchange], None]


def body(data: bytes, *, content_type: str = "image/jpeg", headers: Mapping[str, str] | None = None) -> Behaviour:
    """A good answer."""
    return status(200, data, headers={"Content-Type": content_type, **(headers or {})})


def status(code: int, data: bytes = b"", *, headers: Mapping[str, str] | None = None) -> Behaviour:
    answer = head(f"{code} Status", {**(headers or {}), "Content-Length": str(len(data))}) + data
    return lambda exchange: exchange.send(answer)


def redirect(to: str, *, code: int = 302) -> Behaviour:
    return status(code, b"elsewhere", headers={"Location": to})


def coded(data: bytes, *, coding: str = "gzip") -> Behaviour:
    """A Content-Encoding nobody asked for."""
    return body(data, headers={"Content-Encoding": coding})


def huge_headers(size: int) -> Behaviour:
    return body(b"x", headers={"X-Filler": "x" * size})


def claim(data: bytes, *, length: int) -> Behaviour:
    """A lie about Content-Length. With a length above the truth the connection then closes."""

    def answer(exchange: Exchange) -> None:
        exchange.send(head(OK, {"Content-Length": str(length)}) + data)
        exchange.keep = length <= len(data)

    return answer


def reset_after(data: bytes, *, sent: int) -> Behaviour:
    """A connection reset when `sent` bytes of the body are out; before the head where `sent` is negative."""

    def answer(exchange: Exchange) -> None:
        if sent >= 0:
            exchange.send(head(OK, {"Content-Length": str(len(data))}) + data[:sent])
            exchange.pause(0.05)  # a reset discards what has not been read yet
        exchange.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        exchange.keep = False

    return answer


def close_at_once(exchange: Exchange) -> None:
    exchange.keep = False


def garbage(exchange: Exchange) -> None:
    """Not HTTP."""
    exchange.send(b"220 mail.example ESMTP\r\n\r\n")
    exchange.keep = False


def late(behaviour: Behaviour, *, seconds: float) -> Behaviour:
    """Any behaviour, after a silence."""

    def answer(exchange: Exchange) -> None:
        exchange.pause(seconds)
        behaviour(exchange)

    return answer


def drip(data: bytes, *, every: float, size: int = 1) -> Behaviour:
    """The body, `size` bytes at a time."""

    def answer(exchange: Exchange) -> None:
        exchange.send(head(OK, {"Content-Length": str(len(data))}))
        for start in range(0, len(data), size):
            exchange.send(data[start : start + size])
            exchange.pause(every)

    return answer


def drip_headers(*, every: float) -> Behaviour:
    """A head that never ends."""

    def answer(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while True:
            exchange.send(b"x")
            exchange.pause(every)

    return answer


def endless(exchange: Exchange) -> None:
    """A chunked body without an end, as fast as it is taken."""
    exchange.send(head(OK, {"Transfer-Encoding": "chunked"}))
    while not exchange.stopping.is_set():
        exchange.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")
    exchange.keep = False


def head(status_line: str, headers: Mapping[str, str]) -> bytes:
    return (
        f"HTTP/1.1 {status_line}\r\n".encode()
        + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items())
        + b"\r\n"
    )


@dataclass(slots=True)
class Origin:
    """Listens as soon as it is made, answers within `with`. `host` is how its URLs call it."""

    host: str = "127.0.0.1"
    port: int = 0
    _listener: socket.socket = field(init=False)
    _stopping: threading.Event = field(init=False, default_factory=threading.Event)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)
    _routes: dict[str, list[Behaviour]] = field(init=False, default_factory=dict)
    _hits: Counter[str] = field(init=False, default_factory=Counter)
    _posts: defaultdict[str, list[Received]] = field(init=False, default_factory=lambda: defaultdict(list))
    _open: dict[socket.socket, threading.Thread] = field(init=False, default_factory=dict)
    connections: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="origin", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            open_now = dict(self._open)
        for sock in open_now:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in open_now.values():
            thread.join(5)

    @property
    def place(self) -> str:
        """For `fetch_allow`."""
        return f"{self.host}:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.place}{path}"

    def add(self, path: str, data: bytes, *, content_type: str = "image/jpeg") -> str:
        """A good file; its URL."""
        return self.on(path, body(data, content_type=content_type))

    def on(self, path: str, *behaviours: Behaviour) -> str:
        """Answer the first request for this path by the first behaviour, and so on; its URL."""
        with self._lock:
            self._routes[path] = list(behaviours)
        return self.url(path)

    def hits(self, path: str) -> int:
        return self._hits[path]

    def posts(self, path: str) -> list[Received]:
        """Every POST to this path so far."""
        with self._lock:
            return list(self._posts[path])

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,), name="origin-connection", daemon=True)
            with self._lock:
                self.connections += 1
                self._open[sock] = thread
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError, ValueError), sock, sock.makefile("rb") as reader:
            while request := _read_request(reader.readline, reader.read):
                exchange = Exchange(request, sock, self._stopping)
                self._behaviour(request)(exchange)
                if not exchange.keep or request.headers.get("connection") == "close":
                    break
        with self._lock:
            self._open.pop(sock, None)

    def _behaviour(self, request: Received) -> Behaviour:
        path = request.path.partition("?")[0]
        with self._lock:
            self._hits[path] += 1
            if request.method == "POST":
                self._posts[path].append(request)
            behaviours = self._routes.get(path, [status(404)])
            return behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]


def _read_request(readline: Callable[[], bytes], read: Callable[[int], bytes]) -> Received | None:
    method, _, rest = readline().decode("latin-1").partition(" ")
    headers = {}
    while line := readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    if not rest:
        return None
    return Received(method, rest.rpartition(" ")[0], headers, read(int(headers.get("content-length", 0))))


def main() -> None:
    with Origin() as origin:
        for file in Path(sys.argv[1]).iterdir():
            origin.add(f"/{file.name}", file.read_bytes())
        sys.stdout.write(f"{origin.url('/')}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
