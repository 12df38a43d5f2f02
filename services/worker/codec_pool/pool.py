"""The pool: images that wait, and one driver thread for each child.

turns.py decides which image is next. A driver whose image takes long while others wait becomes a slow one, and another
takes its place; it ends when no slow image is left.
"""

import atexit
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from queue import SimpleQueue
from uuid import UUID

from prometheus_client import Counter, Gauge

from services.worker.codec import compress
from services.worker.codec_pool.child import Codec
from services.worker.codec_pool.driver import Driver, Image, Made, Open, PoolClosedError, PoolLimits
from services.worker.codec_pool.turns import GIVE_UP_SECONDS, Owner, Running, Turns
from shared.recipe import Recipe

_JOIN_SECONDS = 5.0
_OVERSEE_SECONDS = 0.1  # while images wait

SLOW = Counter(
    "halftone_codec_slow_images_total",
    "Images that took long while others waited; `again`: begun again, since too many of them were made at once.",
    ["how"],
)
PLACES = Gauge("halftone_codec_processes", "Codec children that make images at once, slow ones not counted.")
IMAGES = Gauge(
    "halftone_codec_images", "Images in the codec pool now: `running`, slow ones too, or `waiting`.", ["state"]
)
_DEFAULT = PoolLimits()
_log = logging.getLogger(__name__)


class CodecPool:
    """Shared by all threads of a worker."""

    def __init__(self, processes: int, limits: PoolLimits = _DEFAULT, *, codec: Codec = compress) -> None:
        self._turns = Turns[Image](places=processes, slow_places=max(1, processes // 2))
        lock = threading.RLock()  # around `_turns`, `_drivers` and `_closed`
        self._changed = threading.Condition(lock)  # for drivers
        self._arrived = threading.Condition(lock)  # for the overseer
        self._drivers: list[Driver] = []
        self._closed = False
        self._is_short = False  # of a driver that could not be started
        self._new_driver = partial(Driver, self, limits, codec)
        atexit.register(self.close)  # otherwise multiprocessing waits at exit for children that nothing ends
        with self._changed:
            self._staff()
        PLACES.set(processes)
        IMAGES.labels("running").set_function(lambda: len(self._turns.running))
        IMAGES.labels("waiting").set_function(self._count_waiting)
        threading.Thread(target=self._oversee, name="codec turns", daemon=True).start()

    def compress(self, sources: Sequence[Open], recipe: Recipe, request_id: UUID, account_id: UUID) -> Iterator[Made]:
        """Each source's rendition or error, as soon as it is there; raises `PoolClosedError` if the pool closes."""
        made: SimpleQueue[Made | PoolClosedError] = SimpleQueue()
        images = [Image(index, source, recipe, made) for index, source in enumerate(sources)]
        with self._changed:
            if self._closed:
                raise PoolClosedError("the codec pool is closed")
            if not self._turns.waiting:
                self._arrived.notify()
            self._turns.put(Owner(account_id, request_id), images)
            self._changed.notify(len(images))
        for _ in sources:
            one = made.get()
            if isinstance(one, PoolClosedError):
                raise one
            yield one

    def close(self) -> None:
        """End all children now; a `compress` under way raises."""
        with self._changed:
            self._closed = True
            left, drivers = self._turns.clear(), list(self._drivers)
            self._changed.notify_all()
            self._arrived.notify()
        for image in left:
            image.made.put(PoolClosedError("the codec pool is closed"))
        for driver in drivers:
            driver.stop()
        until = time.monotonic() + _JOIN_SECONDS
        for driver in drivers:
            driver.join(max(0.0, until - time.monotonic()))
        atexit.unregister(self.close)

    def take(self, driver: Driver) -> Running[Image] | None:
        """The driver's next image; waits for one. None where the driver is to end."""
        with self._changed:
            while not self._closed:
                find = self._turns.next_slow if driver.slow else self._turns.next
                if running := find(time.monotonic()):
                    driver.begin(running)
                    return running
                if driver.slow:
                    break
                self._changed.wait()
            self._drivers.remove(driver)
            return None

    def ends(self, running: Running[Image], seconds: float, *, again: bool) -> None:
        with self._changed:
            self._turns.charge(running, seconds, time.monotonic())
            if again and not self._closed:
                self._turns.again(running)
                self._staff()
            else:
                self._turns.ends(running)
                if again:
                    running.image.made.put(PoolClosedError("the codec pool is closed"))
            if running.slow:  # another image of its request may have a place; a driver of a place takes it itself
                self._changed.notify()

    def _count_waiting(self) -> float:
        with self._changed:
            return sum(len(images) for kind in (self._turns.waiting, self._turns.slow) for images in kind.values())

    def _staff(self) -> None:
        """Start the drivers that are missing; where the system gives no thread, the overseer tries again."""
        slow = sum(driver.slow for driver in self._drivers)
        missing = [False] * (self._turns.places - len(self._drivers) + slow) + [True] * (self._turns.slow_wanted - slow)
        for kind in missing:
            driver = self._new_driver(slow=kind)
            try:
                driver.start()
            except RuntimeError:
                if not self._is_short:
                    _log.exception("a thread for a codec child did not start")
                self._is_short = True
                self._arrived.notify()
                return
            self._drivers.append(driver)
        self._is_short = False

    def _oversee(self) -> None:
        """While images wait, see to it that those that take long give way; and that no driver is missing."""
        with self._arrived:
            while not self._closed:
                self._arrived.wait(_OVERSEE_SECONDS if self._turns.waiting or self._is_short else None)
                if self._is_short and not self._closed:
                    self._staff()
                if self._turns.waiting and not self._closed:
                    self._make_way()
                    self._changed.notify_all()  # a place that was kept may be given away by now

    def _make_way(self) -> None:
        now = time.monotonic()
        busy = {driver.running: driver for driver in self._drivers if driver.running in self._turns.running}
        for running, driver in busy.items():
            self._turns.charge(running, driver.used(), now)
        for running in list(self._turns.yielding(now)):
            if running not in busy:
                continue
            if self._turns.slow_down(running):
                SLOW.labels("beside").inc()
                busy[running].slow_down()
                self._staff()
            elif running.used > GIVE_UP_SECONDS and not busy[running].gives_up:
                SLOW.labels("again").inc()
                busy[running].give_up()
