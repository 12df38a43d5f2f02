"""At most a few deliveries to one host at a time; the others wait in line without holding a thread.

What finds no place in a line, or is left in it, is still due in the database: the sweeper sends it again.
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable
from threading import Event, Lock
from uuid import UUID

LONGEST_LINE = 10_000
LONGEST_TURN_SECONDS = 60.0
"""Dead hosts with endless lines must not keep all threads from the others for ever."""


class PerHostQueue:
    """`run(host, id, work)` works now if the host has a free lane, else leaves `id` to the thread that holds one.

    `stop`: from when it is set, nobody takes the next in line.
    """

    def __init__(self, per_host: int, stop: Event) -> None:
        self._per_host = per_host
        self._stop = stop
        self._lock = Lock()
        self._busy: defaultdict[str, int] = defaultdict(int)
        self._line: defaultdict[str, deque[UUID]] = defaultdict(deque)

    def run(self, host: str, delivery_id: UUID, work: Callable[[UUID], None]) -> None:
        """Work on `delivery_id`, then for a while on whatever came into the host's line meanwhile."""
        following = self._enter(host, delivery_id)
        until = time.monotonic() + LONGEST_TURN_SECONDS
        try:
            while following is not None:
                work(following)
                following = self._next(host, leave=self._stop.is_set() or time.monotonic() >= until)
        except BaseException:
            self._leave(host)
            raise

    def _enter(self, host: str, delivery_id: UUID) -> UUID | None:
        with self._lock:
            if self._busy[host] < self._per_host:
                self._busy[host] += 1
                return delivery_id
            line = self._line[host]
            if len(line) < LONGEST_LINE and delivery_id not in line:
                line.append(delivery_id)
            return None

    def _next(self, host: str, *, leave: bool) -> UUID | None:
        with self._lock:
            line = self._line[host]
            if line and not leave:
                return line.popleft()
            self._free(host)
            return None

    def _leave(self, host: str) -> None:
        with self._lock:
            self._free(host)

    def _free(self, host: str) -> None:
        self._busy[host] -= 1
        if self._busy[host] == 0:
            self._busy.pop(host)
            self._line.pop(host, None)
