"""Limits deliveries to one host at a time; the others wait in memory without holding a thread.

A delivery that is dropped here is still due in the database: the sweeper sends it again.
"""

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from threading import Event, Lock
from uuid import UUID

MAX_WAITING = 10_000
"""Deliveries that wait for one host; more are dropped."""
MAX_SECONDS = 60.0
"""How long a thread stays with one host: dead hosts with many deliveries must not hold all threads for ever."""


class PerHostQueue:
    """`run(host, id, work)` works now if the host is below its limit, else queues `id` for a thread that is.

    Once `stop` is set, no more is taken from a queue.
    """

    def __init__(self, per_host: int, stop: Event) -> None:
        self._per_host = per_host
        self._stop = stop
        self._lock = Lock()
        self._running: defaultdict[str, int] = defaultdict(int)
        self._waiting: defaultdict[str, OrderedDict[UUID, None]] = defaultdict(OrderedDict)

    def run(self, host: str, delivery_id: UUID, work: Callable[[UUID], None]) -> None:
        """Work on `delivery_id`, then for a while on the deliveries that were queued for the host meanwhile."""
        following = self._start_or_wait(host, delivery_id)
        until = time.monotonic() + MAX_SECONDS
        try:
            while following is not None:
                work(following)
                following = self._next(host, leave=self._stop.is_set() or time.monotonic() >= until)
        except BaseException:
            self._next(host, leave=True)
            raise

    def _start_or_wait(self, host: str, delivery_id: UUID) -> UUID | None:
        with self._lock:
            if self._running[host] < self._per_host:
                self._running[host] += 1
                return delivery_id
            waiting = self._waiting[host]
            if len(waiting) < MAX_WAITING:
                waiting.setdefault(delivery_id)
            return None

    def _next(self, host: str, *, leave: bool) -> UUID | None:
        with self._lock:
            waiting = self._waiting[host]
            if waiting and not leave:
                return waiting.popitem(last=False)[0]
            self._running[host] -= 1
            if self._running[host] == 0:
                del self._running[host], self._waiting[host]
            return None
