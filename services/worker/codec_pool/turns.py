"""Fair scheduling in the codec (ADR 22): whose picture is made next, and which give way to others. No threads here.

An account that has used less of the codec lately goes first, and so does a request among those of its account. A
picture that takes long while others wait is made slowly from then on: its child has a lower priority of the processor,
and does not count among the places. Where there is no room for one more such child, the picture begins again later.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import exp2
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

HALF_LIFE_SECONDS = 60.0
"""Of the time charged to an owner: a catalogue that had the codec for itself shares it after a minute or two."""
SLOW_SECONDS = 0.5
"""Processor time after which a picture takes long; none of a few megapixels needs as much."""
GIVE_UP_SECONDS = 2.0
"""Processor time after which a picture begins again where no slow place is free; it is lost."""
NEGLIGIBLE_SECONDS = 0.01
KEPT_SECONDS = 10.0
"""For so long after others had a picture made, places are kept for their next one from requests that are slow."""

Image = TypeVar("Image")


class Owner(NamedTuple):
    """Whose picture it is."""

    account_id: UUID
    request_id: UUID


@dataclass(slots=True, eq=False)
class Running(Generic[Image]):
    """A picture under way. `used`: seconds of the processor that are charged already."""

    image: Image
    owner: Owner
    slow: bool = False
    used: float = 0.0


@dataclass(slots=True)
class _Usage:
    """Seconds of the processor; what was used long ago counts little."""

    seconds: float = 0.0
    at: float = 0.0

    def now(self, now: float) -> float:
        return self.seconds * exp2((self.at - now) / HALF_LIFE_SECONDS)

    def add(self, seconds: float, now: float) -> None:
        self.seconds, self.at = self.now(now) + seconds, now


@dataclass(slots=True)
class Turns(Generic[Image]):
    """`places`: pictures made at once; `slow_places`: slow ones made besides, at a lower priority."""

    places: int
    slow_places: int
    waiting: dict[Owner, deque[Image]] = field(default_factory=dict)
    slow: dict[Owner, deque[Image]] = field(default_factory=dict)
    running: list[Running[Image]] = field(default_factory=list)
    _used: dict[UUID, _Usage] = field(default_factory=dict)  # by account, and by request

    def put(self, owner: Owner, images: list[Image]) -> None:
        if images:
            self.waiting.setdefault(owner, deque()).extend(images)

    def next(self, now: float) -> Running[Image] | None:
        """Start the next picture for a place; None if no owner may have one."""
        ready = self._ready(now)
        return self._begin(self.waiting, ready, slow=False) if ready else None

    def next_slow(self, now: float) -> Running[Image] | None:
        """Start the next picture that was given up; None if there is none."""
        ready = min(self.slow, key=lambda owner: self._order(owner, now), default=None)
        return self._begin(self.slow, ready, slow=True) if ready else None

    def charge(self, running: Running[Image], seconds: float, now: float) -> None:
        """It has used so many seconds of the processor in all."""
        self._used = {key: usage for key, usage in self._used.items() if usage.now(now) > NEGLIGIBLE_SECONDS}
        for key in running.owner:
            self._used.setdefault(key, _Usage()).add(max(0.0, seconds - running.used), now)
        running.used = max(running.used, seconds)

    def yielding(self, now: float) -> Iterator[Running[Image]]:
        """Pictures that take long while one of an owner that has used less waits."""
        ready = self._ready(now)
        if ready is None:
            return
        for running in self.running:
            other = running.owner != ready and self._order(running.owner, now) > self._order(ready, now)
            if other and not running.slow and running.used > SLOW_SECONDS:
                yield running

    def slow_down(self, running: Running[Image]) -> bool:
        """Let it go on as a slow one, if there is room."""
        if self.slow_running >= self.slow_places:
            return False
        running.slow = True
        return True

    def ends(self, running: Running[Image]) -> None:
        self.running.remove(running)

    def again(self, running: Running[Image]) -> None:
        """It was given up, and begins again later as a slow one."""
        self.ends(running)
        self.slow.setdefault(running.owner, deque()).append(running.image)

    @property
    def slow_running(self) -> int:
        return sum(running.slow for running in self.running)

    @property
    def slow_wanted(self) -> int:
        """How many children should make slow pictures."""
        return min(self.slow_places, self.slow_running + sum(map(len, self.slow.values())))

    def clear(self) -> list[Image]:
        """Forget all pictures that wait; returns them."""
        left = [image for lines in (self.waiting, self.slow) for images in lines.values() for image in images]
        self.waiting.clear()
        self.slow.clear()
        return left

    def _ready(self, now: float) -> Owner | None:
        """Who goes next. What is made slowly counts: a request of nothing else leaves places to others."""
        busy = Counter(running.owner for running in self.running)
        kept_from = self._kept_from(now)
        ready = (owner for owner in self.waiting if busy[owner] < self.places and owner not in kept_from)
        return min(ready, key=lambda owner: self._order(owner, now), default=None)

    def _kept_from(self, now: float) -> set[Owner]:
        """Requests with slow pictures, while others come: each further one would hold a place until it has to yield."""
        slow = {running.owner for running in self.running if running.slow} | set(self.slow)
        theirs = {key for owner in slow for key in owner}
        others = (usage for key, usage in self._used.items() if key not in theirs)
        return slow if any(now - usage.at < KEPT_SECONDS for usage in others) else set()

    def _order(self, owner: Owner, now: float) -> tuple[float, ...]:
        return tuple(self._used[key].now(now) if key in self._used else 0.0 for key in owner)

    def _begin(self, lines: dict[Owner, deque[Image]], owner: Owner, *, slow: bool) -> Running[Image]:
        images = lines.pop(owner)
        running = Running(images.popleft(), owner, slow)
        if images:
            lines[owner] = images  # now the last in the dict: among equals the others go first
        self.running.append(running)
        return running
