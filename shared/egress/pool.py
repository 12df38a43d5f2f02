"""Idle connections, kept by origin for the next request.

httpcore's pool polls each of its connections for every request; with a thousand hosts that is most of the work.
"""

import threading
import time

from shared.egress.connection import KEEP_SECONDS, Connection
from shared.urls import Target

Origin = tuple[str, str, int]


class ConnectionPool:
    """The newest connection of an origin is taken first: it is the least likely to be stale."""

    def __init__(self, max_idle: int) -> None:
        self._max_idle = max_idle
        self._lock = threading.Lock()
        self._idle: dict[Origin, list[Connection]] = {}
        self._count = 0
        self._expire_at = 0.0
        self._closed = False

    def take(self, target: Target) -> Connection | None:
        """A connection that still lives, as far as one can tell without using it."""
        while connection := self._pop(target.origin):
            if not connection.has_expired():
                return connection
            connection.close()
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep it if it can be used again, else close it."""
        surplus = []
        with self._lock:
            if connection.is_idle() and not self._closed:
                self._idle.setdefault(connection.origin, []).append(connection)
                self._count += 1
            else:
                surplus.append(connection)
            surplus += self._take_surplus()
        for other in surplus:
            other.close()

    def close(self) -> None:
        """Close all idle connections; one in use is closed when it is given back."""
        with self._lock:
            self._closed = True
            idle = [connection for connections in self._idle.values() for connection in connections]
            self._idle.clear()
            self._count = 0
        for connection in idle:
            connection.close()

    def _pop(self, origin: Origin) -> Connection | None:
        with self._lock:
            connections = self._idle.get(origin)
            return self._remove(origin, connections[-1]) if connections else None

    def _take_surplus(self) -> list[Connection]:
        """The oldest beyond the limit, and every KEEP_SECONDS all that have expired; the caller holds the lock."""
        surplus = []
        while self._count > self._max_idle:
            origin, connections = next(iter(self._idle.items()))
            surplus.append(self._remove(origin, connections[0]))
        if time.monotonic() >= self._expire_at:
            self._expire_at = time.monotonic() + KEEP_SECONDS
            for origin, connections in list(self._idle.items()):
                expired = [connection for connection in connections if connection.has_expired()]
                surplus += [self._remove(origin, connection) for connection in expired]
        return surplus

    def _remove(self, origin: Origin, connection: Connection) -> Connection:
        self._idle[origin].remove(connection)
        if not self._idle[origin]:
            del self._idle[origin]
        self._count -= 1
        return connection
