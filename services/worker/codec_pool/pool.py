"""The pool: a queue of images and one driver thread per child, which owns its child and replaces it when it fails."""

import atexit
import logging
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from queue import SimpleQueue

from prometheus_client import Counter

from services.worker.codec import Rendition, compress
from services.worker.codec_pool.child import Child, Codec, Failure, Outcome
from shared.errors import CodecCrashed, CodecTimeout, HalftoneError, ImageError
from shared.recipe import Recipe

_DEATHS = 5  # of children under one image: the system may have killed them for the memory of others
_PAUSE_SECONDS = 0.5  # after a child that did not start
_JOIN_SECONDS = 5.0

_log = logging.getLogger(__name__)
REPLACED = Counter(
    "halftone_codec_children_replaced_total", "Codec children that died or were killed at a time limit, and replaced."
)


class PoolClosedError(HalftoneError):
    """The worker is shutting down; the images are as they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """What one image may cost its child: anonymous memory, processor time, wall-clock time."""

    memory_bytes: int = 2_000_000_000
    cpu_seconds: int = 20
    wall_seconds: float = 20.0


_DEFAULT = PoolLimits()


@dataclass(frozen=True, slots=True)
class _Image:
    source: bytes
    recipe: Recipe
    result: Future[Rendition | ImageError] = field(default_factory=Future)


class CodecPool:
    """Shared by all threads of a worker."""

    def __init__(self, processes: int, limits: PoolLimits = _DEFAULT, *, codec: Codec = compress) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._images: SimpleQueue[_Image | None] = SimpleQueue()
        self._drivers = [_Driver(self._images, limits, codec) for _ in range(processes)]
        atexit.register(self.close)  # otherwise multiprocessing waits at exit for children that nothing ends
        for driver in self._drivers:
            driver.start()

    def compress(self, sources: Sequence[bytes], recipe: Recipe) -> list[Rendition | ImageError]:
        """The rendition of each source, or its error, in order; raises `PoolClosedError` if the pool is closed."""
        images = [_Image(source, recipe) for source in sources]
        with self._lock:
            if self._closed:
                raise PoolClosedError("the codec pool is closed")
            for image in images:
                self._images.put(image)
        return [image.result.result() for image in images]

    def close(self) -> None:
        """End all children now; a `compress` under way raises."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for _ in self._drivers:
                self._images.put(None)
        for driver in self._drivers:
            driver.stop()
        for driver in self._drivers:
            driver.join(_JOIN_SECONDS)
        atexit.unregister(self.close)


class _Driver(threading.Thread):
    """Gives its child one image at a time; nothing of the child is shared with another driver."""

    def __init__(self, images: SimpleQueue[_Image | None], limits: PoolLimits, codec: Codec) -> None:
        super().__init__(name="codec", daemon=True)
        self._images = images
        self._limits = limits
        self._codec = codec
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # around changes of `_child`: a child that is not set here is never hung up
        self._child: Child | None = None

    def run(self) -> None:
        self._start_child()
        while (image := self._images.get()) is not None:
            try:
                image.result.set_result(self._result(image))
            except PoolClosedError as error:
                image.result.set_exception(error)
        self._end_child()

    def stop(self) -> None:
        """Called by another thread: whatever the driver waits for fails at once."""
        self._stopping.set()
        with self._lock:
            if self._child is not None:
                self._child.hang_up()

    def _result(self, image: _Image) -> Rendition | ImageError:
        """An image whose child died is tried again on the spot, and blamed only after `_DEATHS`."""
        for attempt in count(1):
            if self._child is None or self._stopping.is_set():
                break
            outcome = self._attempt(self._child, image)
            if not isinstance(outcome, Failure):
                return outcome
            if attempt >= outcome.tries and not self._stopping.is_set():
                return CodecCrashed(outcome.detail)
        raise PoolClosedError("the codec pool is closed")

    def _attempt(self, child: Child, image: _Image) -> Outcome:
        try:
            return child.ask(image.source, image.recipe, self._limits.wall_seconds)
        except TimeoutError:
            self._replace_child()
            return CodecTimeout(f"the picture took more than {self._limits.wall_seconds:g} s")
        except (OSError, EOFError):
            code = self._replace_child()
            if code == -signal.SIGXCPU:
                return CodecTimeout(f"the picture took more than {self._limits.cpu_seconds} s of processor time")
            return Failure(f"the codec failed: its process ended with {code}", tries=_DEATHS)
        except Exception as error:  # noqa: BLE001 - a driver must live
            _log.exception("a codec child answered with something unreadable")
            self._replace_child()
            return Failure(f"the codec failed: {type(error).__name__}: {error}")

    def _replace_child(self) -> int | None:
        code = self._end_child()
        if not self._stopping.is_set():
            REPLACED.inc()
            self._start_child()
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
                if self._stopping.is_set():
                    child.hang_up()
            return
