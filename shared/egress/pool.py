"""Idle connections, kept for the next request to the same origin.

httpcore's pool polls each of its connections for every request; with a thousand hosts that is most of the work.
"""

import threading

from shared.egress.connection import Connection
from shared.urls import Target


class ConnectionPool:
    """The newest connection of an origin is taken first: it is the least likely to be stale."""

    def __init__(self, max_idle: int) -> None:
        self._max_idle = max_idle
        self._lock = threading.Lock()
        self._idle: list[Connection] = []  # oldest first

    def take(self, target: Target) -> Connection | None:
        """A connection that still lives, as far as one can tell without using it."""
        while connection := self._pop(target):
            if not connection.has_expired():
                return connection
            connection.close()
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep it if it can be used again, else close it."""
        if not connection.is_idle():
            connection.close()
            return
        surplus = []
        with self._lock:
            self._idle.append(connection)
            while self._idle and (len(self._idle) > self._max_idle or self._idle[0].has_expired()):
                surplus.append(self._idle.pop(0))
        for other in surplus:
            other.close()

    def close(self) -> None:
        """Close all idle connections; one in use is closed when it is given back."""
        with self._lock:
            self._max_idle = 0
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _pop(self, target: Target) -> Connection | None:
        with self._lock:
            for index in range(len(self._idle) - 1, -1, -1):
                if self._idle[index].origin == target.origin:
                    return self._idle.pop(index)
        return None
