"""The pool: images that wait, and one driver thread per child, which owns its child and replaces it when it fails.

Drivers take images round robin over requests, so an image waits for at most one of each other request.
"""

import atexit
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from queue import SimpleQueue
from typing import BinaryIO
from uuid import UUID

from prometheus_client import Counter

from services.worker.codec import Rendition, compress
from services.worker.codec_pool.child import Child, Codec
from services.worker.codec_pool.frames import Answer, Failure
from shared.errors import CodecCrashed, CodecTimeout, HalftoneError, ImageError, StorageError
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


Open = Callable[[], BinaryIO]
"""Opens a source, a real file with a descriptor; raises `StorageError`."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of the source at `index`; `source_sha256` of what the child read, where it could say so."""

    index: int
    outcome: Rendition | ImageError | StorageError
    source_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class _Image:
    index: int
    open: Open
    recipe: Recipe
    made: SimpleQueue[Made | PoolClosedError]


class _Waiting:
    """The images that no driver has taken yet, by request."""

    def __init__(self) -> None:
        self._some = threading.Condition()
        self._requests: dict[UUID, deque[_Image]] = {}
        self._closed = False

    def put(self, request_id: UUID, images: Sequence[_Image]) -> None:
        with self._some:
            if self._closed:
                raise PoolClosedError("the codec pool is closed")
            if images:
                self._requests.setdefault(request_id, deque()).extend(images)
                self._some.notify(len(images))

    def take(self) -> _Image | None:
        """The next request's next image; waits for one. None when the pool is closed."""
        with self._some:
            self._some.wait_for(lambda: self._requests or self._closed)
            if self._closed:
                return None
            request_id = next(iter(self._requests))
            images = self._requests.pop(request_id)
            image = images.popleft()
            if images:
                self._requests[request_id] = images  # now the last in the dict
            return image

    def close(self) -> list[_Image]:
        """The images that nobody will take."""
        with self._some:
            self._closed = True
            left = [image for images in self._requests.values() for image in images]
            self._requests.clear()
            self._some.notify_all()
            return left


class CodecPool:
    """Shared by all threads of a worker."""

    def __init__(self, processes: int, limits: PoolLimits = _DEFAULT, *, codec: Codec = compress) -> None:
        self._waiting = _Waiting()
        self._drivers = [_Driver(self._waiting, limits, codec) for _ in range(processes)]
        atexit.register(self.close)  # otherwise multiprocessing waits at exit for children that nothing ends
        for driver in self._drivers:
            driver.start()

    def compress(self, sources: Sequence[Open], recipe: Recipe, request_id: UUID) -> Iterator[Made]:
        """Each source's rendition or error, as soon as it is there; raises `PoolClosedError` if the pool closes."""
        made: SimpleQueue[Made | PoolClosedError] = SimpleQueue()
        self._waiting.put(request_id, [_Image(index, source, recipe, made) for index, source in enumerate(sources)])
        for _ in sources:
            one = made.get()
            if isinstance(one, PoolClosedError):
                raise one
            yield one

    def close(self) -> None:
        """End all children now; a `compress` under way raises."""
        for image in self._waiting.close():
            image.made.put(PoolClosedError("the codec pool is closed"))
        for driver in self._drivers:
            driver.stop()
        until = time.monotonic() + _JOIN_SECONDS
        for driver in self._drivers:
            driver.join(max(0.0, until - time.monotonic()))
        atexit.unregister(self.close)


class _Driver(threading.Thread):
    """Gives its child one image at a time; nothing of the child is shared with another driver."""

    def __init__(self, waiting: _Waiting, limits: PoolLimits, codec: Codec) -> None:
        super().__init__(name="codec", daemon=True)
        self._waiting = waiting
        self._limits = limits
        self._codec = codec
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # around changes of `_child`: a child that is not set here is never hung up
        self._child: Child | None = None

    def run(self) -> None:
        self._start_child()
        while (image := self._waiting.take()) is not None:
            try:
                image.made.put(self._made(image))
            except PoolClosedError as error:
                image.made.put(error)
        self._end_child()

    def stop(self) -> None:
        """Called by another thread: whatever the driver waits for fails at once."""
        self._stopping.set()
        with self._lock:
            if self._child is not None:
                self._child.hang_up()

    def _made(self, image: _Image) -> Made:
        try:
            with image.open() as source:
                answer = self._answer(source, image.recipe)
        except StorageError as error:
            return Made(image.index, error)
        except PoolClosedError:
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
            if not isinstance(answer.outcome, Failure):
                return answer
            if attempt >= answer.outcome.tries and not self._stopping.is_set():
                return answer
        raise PoolClosedError("the codec pool is closed")

    def _attempt(self, child: Child, source: BinaryIO, recipe: Recipe) -> Answer:
        try:
            return child.ask(source, recipe, self._limits.wall_seconds)
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
