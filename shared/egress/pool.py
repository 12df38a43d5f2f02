"""Idle connections, kept for the next request to the same origin. On the loop's thread, so without a lock."""

import time

from shared.egress.connection import Connection
from shared.urls import Target


class ConnectionPool:
    """The newest connection of an origin is taken first: it is the least likely to be stale."""

    def __init__(self, max_idle: int) -> None:
        self._max_idle = max_idle
        self._idle: list[Connection] = []  # oldest first

    def take(self, target: Target) -> Connection | None:
        """A connection that still lives, as far as one can tell without using it."""
        while connection := self._pop(target):
            if connection.is_fresh() and connection.is_reusable():
                return connection
            connection.close()
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep it, and close those that are too many or too old."""
        connection.idle_since = time.monotonic()
        self._idle.append(connection)
        while self._idle and (len(self._idle) > self._max_idle or not self._idle[0].is_fresh()):
            self._idle.pop(0).close()

    def close(self) -> None:
        """Close all idle connections; one in use is closed when it is given back."""
        self._max_idle = 0
        while self._idle:
            self._idle.pop().close()

    def _pop(self, target: Target) -> Connection | None:
        origin = target.origin
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index].origin == origin:
                return self._idle.pop(index)
        return None
