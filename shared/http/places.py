"""Admission control: each kind of HTTP request has so many places, of which an account or an address holds a share.

Where all are taken, the oldest request that is slow because of its client gives way.
"""

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto

from prometheus_client import Counter

from shared.http.problems import Problem

GAVE_WAY = Counter("halftone_gave_way_total", "Slow requests that were ended for others.", ["kind"])
_SOON = {"Retry-After": "5"}
BUSY = Problem(503, "busy", "Too many concurrent requests; try again soon.", headers=_SOON)
TOO_MANY = Problem(
    429, "too_many_at_once", "Too many of your requests are in progress at once; wait for one to end.", headers=_SOON
)
SHARE = 4
"""An account, or an address, may hold a fourth of the places of a kind."""
SLOW = 10_000
"""Bytes per second; a client that is slower on average uses up its patience."""


class Kind(Enum):
    """Kinds of requests. All but a CALL last as long as their clients like."""

    UPLOAD = auto()
    DOWNLOAD = auto()
    EVENTS = auto()
    CALL = auto()


PATIENCE = {Kind.UPLOAD: 10.0, Kind.DOWNLOAD: 45.0, Kind.EVENTS: 10.0, Kind.CALL: 45.0}
"""Seconds for which a request waits for its client before it counts as slow.

What a client takes is seen late: the system's buffers hide it for up to 31 s at 50 kB/s (`connection`). Of an event
stream, which has little to send, they are the age from which it may be ended.
"""


class Place:
    """A request in progress, and how long it has waited for its client.

    Only such time counts: a request is not slow because the server is. Each byte that the client took or sent gives
    back the time that it may take at the rate SLOW.
    """

    def __init__(self, kind: Kind, owners: Sequence[str], end: Callable[[], None]) -> None:
        self.kind = kind
        self.owners = owners
        self.end = end
        self.gave_way = False
        self.since = time.monotonic()
        self._patience = PATIENCE[kind]
        self._waits_since: float | None = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what only the client's sending or taking bytes can complete."""
        self._waits_since = since = time.monotonic()
        try:
            yield
        finally:
            self._patience -= time.monotonic() - since
            self._waits_since = None

    def moved(self, size: int) -> None:
        """The client sent or took so many bytes."""
        self._patience = min(PATIENCE[self.kind], self._patience + size / SLOW)

    def is_slow(self) -> bool:
        """Never once its client has sent all, while the server works."""
        since = self._waits_since
        return since is not None and self._patience < time.monotonic() - since

    def give_way(self) -> None:
        """End it; from any thread."""
        self.gave_way = True
        self.end()
        GAVE_WAY.labels(self.kind.name.lower()).inc()


class Places:
    """The places of one kind, oldest first, of which each account and each address may hold a share."""

    def __init__(self, kind: Kind, limit: int) -> None:
        self.kind = kind
        self.limit = limit
        self.share = -(-limit // SHARE)
        self._held = dict[Place, None]()
        self._count = Tally[str]()

    def take(self, owners: Sequence[str], end: Callable[[], None]) -> Place | Problem:
        """A place, or the refusal. Requests that give way for it are ended."""
        full = [
            (TOO_MANY, [place for place in self._held if owner in place.owners])
            for owner in owners
            if self._count[owner] >= self.share
        ]
        if len(self._held) >= self.limit:
            full.insert(0, (BUSY, list(self._held)))
        leaving = dict[Place, None]()
        for problem, among in full:
            if leaving.keys().isdisjoint(among):
                slow = self._first_to_leave(among, owners, problem)
                if slow is None:
                    return problem
                leaving[slow] = None
        for place in leaving:
            self._end(place)
        return self._begin(Place(self.kind, owners, end))

    def leave(self, place: Place) -> None:
        """Twice is the same as once."""
        if place in self._held:
            del self._held[place]
            for owner in place.owners:
                self._count[owner] -= 1
                if not self._count[owner]:
                    del self._count[owner]

    def _begin(self, place: Place) -> Place:
        self._held[place] = None
        self._count.update(place.owners)
        return place

    def _end(self, place: Place) -> None:
        self.leave(place)
        place.give_way()

    def _first_to_leave(self, among: Sequence[Place], owners: Sequence[str], problem: Problem) -> Place | None:
        """The oldest slow one.

        A stream of events is ended only for a client that has fewer: the oldest one of the client with the most. It
        reconnects by itself.
        """
        if self.kind is not Kind.EVENTS:
            return next((place for place in among if place.is_slow()), None)
        if problem is TOO_MANY:
            return None
        own, before = self._most(owners), time.monotonic() - PATIENCE[self.kind]
        larger = [place for place in among if place.since <= before and self._most(place.owners) > own]
        return max(larger, key=lambda place: self._most(place.owners), default=None)

    def _most(self, owners: Sequence[str]) -> int:
        return max(self._count[owner] for owner in owners)
