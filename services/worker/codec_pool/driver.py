"""One driver thread and its child: gives it one image at a time, and replaces it when it fails."""

import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from queue import SimpleQueue
from typing import BinaryIO, Protocol

from prometheus_client import Counter, Histogram

from services.worker.codec import Rendition
from services.worker.codec_pool.child import Child, Codec
from services.worker.codec_pool.frames import Answer, Failure
from services.worker.codec_pool.turns import Running
from shared.errors import CodecCrashed, CodecTimeout, HalftoneError, ImageError, StorageError
from shared.recipe import Recipe

_DEATHS = 5  # of children working on one image, after which it is blamed: others may have used up the memory
_PAUSE_SECONDS = 0.5  # after a child that did not start
_SLOWER = 10  # times the wall-clock time, for a child that gets a tenth of the processor

_log = logging.getLogger(__name__)
REPLACED = Counter(
    "halftone_codec_children_replaced_total", "Codec children that died or were killed at a time limit, and replaced."
)
SECONDS = Histogram(
    "halftone_codec_seconds",
    "Time by the clock that the codec took for an image, by the source's format; none: it made no rendition.",
    ["format"],
    buckets=(0.005, 0.01, 0.03, 0.1, 0.3, 1, 2, 5, 10, 20, 60),
)


class PoolClosedError(HalftoneError):
    """The worker is shutting down; the images are as they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """What one image may cost its child: anonymous memory, processor time, wall-clock time."""

    memory_bytes: int = 2_000_000_000
    cpu_seconds: int = 20
    wall_seconds: float = 20.0


Open = Callable[[], BinaryIO]
"""Opens a source, a real file with a descriptor; raises `StorageError`."""


@dataclass(frozen=True, slots=True)
class Made:
    """The result for the source at `index`; `source_sha256` of the bytes that the child read, where it could say so.

    `seconds` of the wall clock in the child, without the wait for one.
    """

    index: int
    outcome: Rendition | ImageError | StorageError
    source_sha256: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Image:
    index: int
    open: Open
    recipe: Recipe
    made: SimpleQueue[Made | PoolClosedError]


class _GivenUpError(Exception):
    """The image gives way to others."""


class Scheduler(Protocol):
    """The pool as its drivers see it: it gives them images, and is told how much of the processor each took."""

    def take(self, driver: "Driver") -> Running[Image] | None: ...

    def ends(self, running: Running[Image], seconds: float, *, again: bool) -> None: ...


class Driver(threading.Thread):
    """Gives its child one image at a time; nothing of the child is shared with another driver."""

    def __init__(self, scheduler: Scheduler, limits: PoolLimits, codec: Codec, *, slow: bool) -> None:
        super().__init__(name="codec", daemon=True)
        self.slow = slow
        self.gives_up = False
        self.running: Running[Image] | None = None
        self._scheduler = scheduler
        self._limits = limits
        self._codec = codec
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # around changes of `_child`: a child that is not set here is never hung up
        self._child: Child | None = None
        self._spent = 0.0  # processor seconds of children that died of the image
        self._base: float | None = None  # what the child had used before
        self._began = 0.0

    def run(self) -> None:
        self._start_child()
        while (running := self._scheduler.take(self)) is not None:
            image, again, begun = running.image, False, time.monotonic()
            try:
                made: Made | PoolClosedError = self._made(image)
            except PoolClosedError as error:
                made = error
            except _GivenUpError:
                again = True
            self._scheduler.ends(running, self.used(), again=again)
            if not again:
                seconds = time.monotonic() - begun
                image.made.put(replace(made, seconds=seconds) if isinstance(made, Made) else made)
                _observe(made, seconds)
        self._end_child()

    def begin(self, running: Running[Image]) -> None:
        self.running, self.gives_up = running, False
        self._spent = 0.0
        self._reckon()

    def used(self) -> float:
        """Seconds of the processor for this image; of the wall clock where the child cannot be asked."""
        clock, base = self._clock(), self._base
        since = time.monotonic() - self._began if clock is None or base is None else clock - base
        return self._spent + max(0.0, since)

    def slow_down(self) -> None:
        self.slow = True
        with self._lock:
            if self._child is not None:
                self._child.slow_down()

    def give_up(self) -> None:
        """Called by another thread: the image under way is begun again by a slow driver."""
        self.gives_up = True
        self._hang_up()

    def stop(self) -> None:
        """Called by another thread: whatever the driver waits for fails at once."""
        self._stopping.set()
        self._hang_up()

    def _hang_up(self) -> None:
        with self._lock:
            if self._child is not None:
                self._child.hang_up()

    def _clock(self) -> float | None:
        with self._lock, suppress(OSError, ValueError):
            return None if self._child is None else self._child.cpu_seconds()
        return None

    def _reckon(self) -> None:
        self._base, self._began = self._clock(), time.monotonic()

    def _more(self) -> Callable[[], float]:
        """Further seconds for an image that is made slowly, once."""
        extra = [self._limits.wall_seconds * (_SLOWER - 1)]
        return lambda: extra.pop() if self.slow and extra else 0.0

    def _made(self, image: Image) -> Made:
        try:
            with image.open() as source:
                answer = self._answer(source, image.recipe)
        except StorageError as error:
            return Made(image.index, error)
        except (PoolClosedError, _GivenUpError):
            raise
        except Exception as error:  # noqa: BLE001 - a driver must live
            _log.exception("a source could not be given to a codec child")
            return Made(image.index, CodecCrashed(f"the codec failed: {type(error).__name__}: {error}"))
        outcome = answer.outcome
        if isinstance(outcome, Failure):
            outcome = CodecCrashed(outcome.detail)
        return Made(image.index, outcome, answer.source_sha256)

    def _answer(self, source: BinaryIO, recipe: Recipe) -> Answer:
        """An image whose child died is tried again on the spot, and blamed only after `_DEATHS`."""
        for attempt in count(1):
            if self._child is None or self._stopping.is_set():
                break
            answer = self._attempt(self._child, source, recipe)
            if self.gives_up and isinstance(answer.outcome, Failure):
                raise _GivenUpError
            if not isinstance(answer.outcome, Failure):
                return answer
            if attempt >= answer.outcome.tries and not self._stopping.is_set():
                return answer
        raise PoolClosedError("the codec pool is closed")

    def _attempt(self, child: Child, source: BinaryIO, recipe: Recipe) -> Answer:
        try:
            return child.ask(source, recipe, self._limits.wall_seconds, self._more())
        except TimeoutError:
            self._replace_child()
            return Answer(CodecTimeout(f"the picture took more than {self._limits.wall_seconds:g} s"))
        except (OSError, EOFError):
            code = self._replace_child()
            if code == -signal.SIGXCPU:
                seconds = self._limits.cpu_seconds
                return Answer(CodecTimeout(f"the picture took more than {seconds} s of processor time"))
            return Answer(Failure(f"the codec failed: its process ended with {code}", tries=_DEATHS))
        except Exception as error:  # noqa: BLE001 - a driver must live
            _log.exception("a codec child answered with something unreadable")
            self._replace_child()
            return Answer(Failure(f"the codec failed: {type(error).__name__}: {error}"))

    def _replace_child(self) -> int | None:
        self._spent = self.used()
        code = self._end_child()
        if not self._stopping.is_set():
            REPLACED.inc()
            self._start_child()
        self._reckon()
        return code

    def _end_child(self) -> int | None:
        with self._lock:
            child, self._child = self._child, None
        return None if child is None else child.end()

    def _start_child(self) -> None:
        """Tries until it succeeds (a killed fork server comes back by itself) or the pool closes."""
        while not self._stopping.is_set():
            try:
                child = Child(self._codec, memory_bytes=self._limits.memory_bytes, cpu_seconds=self._limits.cpu_seconds)
            except Exception:  # noqa: BLE001 - a driver must live
                _log.exception("a codec child did not start")
                self._stopping.wait(_PAUSE_SECONDS)
                continue
            with self._lock:
                self._child = child
                if self.slow:
                    child.slow_down()
                if self._stopping.is_set():
                    child.hang_up()
            return


def _observe(made: Made | PoolClosedError, seconds: float) -> None:
    outcome = made.outcome if isinstance(made, Made) else None
    SECONDS.labels(outcome.source.format if isinstance(outcome, Rendition) else "none").observe(seconds)
