"""One open connection to one place, and the idle ones kept for the next request to it."""

import threading
import time
from collections.abc import Mapping

import httpcore

from shared.egress.deadline import Deadline
from shared.egress.stream import DeadlineStream
from shared.egress.target import Target

MAX_HEADER_BYTES = 32 * 1024
KEEP_SECONDS = 15.0

Place = tuple[str, str, int]


class _Http1(httpcore.HTTP11Connection):
    """httpcore's protocol with our limit on headers (its own is 100 kB)."""

    MAX_INCOMPLETE_EVENT_SIZE = MAX_HEADER_BYTES


class Line:
    """A connection with its stream. Used by one thread at a time."""

    def __init__(self, target: Target, stream: DeadlineStream) -> None:
        self.place = target.place
        self.stream = stream
        origin = httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port)
        self._http = _Http1(origin, stream, keepalive_expiry=KEEP_SECONDS)

    def send(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None, *, deadline: Deadline
    ) -> httpcore.Response:
        """The response's head; its body is still to be read. Raises httpcore's errors."""
        self.stream.deadline = deadline
        url = httpcore.URL(
            scheme=target.scheme, host=target.host.encode(), port=target.port, target=target.url.raw_path
        )
        fields = [(b"Host", target.url.netloc), *((name.encode(), value.encode()) for name, value in headers.items())]
        return self._http.handle_request(httpcore.Request(method, url, headers=fields, content=body))

    def is_idle(self) -> bool:
        return self._http.is_idle()

    def has_expired(self) -> bool:
        return self._http.has_expired()

    def close(self) -> None:
        self._http.close()


class IdleLines:
    """Connections nobody uses just now, by place; the latest is taken first, as it is the least likely to be stale.

    httpcore's pool looks at every connection it has for every request; with a thousand hosts that is most of the work.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._lock = threading.Lock()
        self._idle: dict[Place, list[Line]] = {}
        self._count = 0
        self._tidy_at = 0.0
        self._closed = False

    def take(self, target: Target) -> Line | None:
        """A connection that still lives, as far as one can tell without using it."""
        while line := self._pop(target.place):
            if not line.has_expired():
                return line
            line.close()
        return None

    def give_back(self, line: Line) -> None:
        """Keep it if it can be used again, close it otherwise."""
        keep = line.is_idle()
        surplus: list[Line] = [] if keep else [line]
        with self._lock:
            if keep and not self._closed:
                self._idle.setdefault(line.place, []).append(line)
                self._count += 1
            elif keep:
                surplus.append(line)
            surplus += self._take_surplus()
        for other in surplus:
            other.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            lines = [line for lines in self._idle.values() for line in lines]
            self._idle.clear()
            self._count = 0
        for line in lines:
            line.close()

    def _pop(self, place: Place) -> Line | None:
        with self._lock:
            lines = self._idle.get(place)
            if not lines:
                return None
            line = lines.pop()
            if not lines:
                del self._idle[place]
            self._count -= 1
            return line

    def _take_surplus(self) -> list[Line]:
        """The oldest beyond the limit, and now and then everything that expired; the caller holds the lock."""
        surplus = []
        while self._count > self._at_most:
            place = next(iter(self._idle))
            surplus.append(self._idle[place].pop(0))
            self._drop_if_empty(place)
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + KEEP_SECONDS
            for place, lines in list(self._idle.items()):
                expired = [line for line in lines if line.has_expired()]
                for line in expired:
                    lines.remove(line)
                    surplus.append(line)
                    self._drop_if_empty(place)
        return surplus

    def _drop_if_empty(self, place: Place) -> None:
        self._count -= 1
        if not self._idle[place]:
            del self._idle[place]
