"""A web server for pictures and webhooks, standard library only: one thread for each kept-alive connection.

    with Origin() as origin:
        origin.add("/a.jpg", jpeg)                      # a good picture
        origin.on("/b.jpg", status(500), body(jpeg))    # a 500, then the picture for good

A behaviour is a function of an `Exchange`; the last one given for a path stays.
`python origin.py FOLDER PORT` serves the files of a folder on all addresses.
"""

import socket
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


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
        """Send raw bytes, the head of the answer included."""
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
    """An answer with this status."""
    answer = head(f"{code} Status", {**(headers or {}), "Content-Length": str(len(data))}) + data
    return lambda exchange: exchange.send(answer)


def head(status_line: str, headers: Mapping[str, str]) -> bytes:
    """The status line and the headers, up to the empty line."""
    lines = [f"HTTP/1.1 {status_line}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


NOT_FOUND = status(404)


@dataclass(slots=True)
class Origin:
    """Listens once it is made, answers within `with`; `host` is how its URLs name it, `otherwise` is for other paths.

    Raises:
        OSError: the port is taken, or not for this user.

    """

    host: str = "127.0.0.1"
    port: int = 0
    bind: str = "127.0.0.1"
    otherwise: Behaviour = NOT_FOUND
    connections: int = field(init=False, default=0)
    _listener: socket.socket = field(init=False)
    _stopping: threading.Event = field(init=False, default_factory=threading.Event)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)
    _routes: dict[str, list[Behaviour]] = field(init=False, default_factory=dict)
    _hits: Counter[str] = field(init=False, default_factory=Counter)
    _posts: defaultdict[str, list[Received]] = field(init=False, default_factory=lambda: defaultdict(list))
    _open: dict[socket.socket, threading.Thread] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._listener = socket.create_server((self.bind, self.port), backlog=512)
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
        """`host:port`, as HALFTONE_FETCH_ALLOW takes it."""
        return f"{self.host}:{self.port}"

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://{self.place}{path}"

    def add(self, path: str, data: bytes) -> str:
        """Serve a file, whose name decides its type; its URL."""
        return self.on(path, body(data, content_type=TYPES.get(Path(path).suffix, "image/jpeg")))

    def on(self, path: str, *behaviours: Behaviour) -> str:
        """Answer the first request for this path by the first behaviour, and so on; its URL."""
        with self._lock:
            self._routes[path] = list(behaviours)
        return self.url(path)

    def hits(self, path: str) -> int:
        """How many requests this path has had."""
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
                thread.start()  # under the lock: `__exit__` joins every thread that it finds

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
            behaviours = self._routes.get(path, [self.otherwise])
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


def main(folder: str, port: str) -> None:
    """Serve the files of a folder until the process is ended."""
    with Origin(port=int(port), bind="") as origin:
        for file in Path(folder).iterdir():
            origin.add(f"/{file.name}", file.read_bytes())
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
