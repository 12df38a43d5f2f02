"""The codec's child processes: a picture that hangs, swells or crashes costs itself, and nothing else.

The trap: pebble's pool breaks for good when an idle child is killed from outside. It is then built anew, and the images
that were in it are sent again.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

from pebble import ProcessExpired, ProcessPool
from pebble.common.types import CONSTS
from prometheus_client import Counter

from services.worker.codec import Rendition, child
from services.worker.codec.offspring import context
from shared.errors import CodecCrashed, CodecTimeout, HalftoneError, ImageError
from shared.recipe import Recipe

_TRIES = 5  # for an image whose child died: the child may have been somebody else's victim
_MEMORY_TRIES = 2
_SLACK = 20.0  # seconds without any result, beyond one image's own time, after which a pool is given up

CONSTS.term_timeout = 0.05  # children ignore SIGTERM, so pebble need not wait 3 s before SIGKILL
CONSTS.channel_lock_timeout = child.LOCK_SECONDS

_log = logging.getLogger(__name__)
REBUILDS = Counter("halftone_codec_pool_rebuilds_total", "Codec pools that broke or hung and were built anew.")


class PoolClosedError(HalftoneError):
    """The worker is shutting down; the images are as they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """What one image may cost its child: anonymous memory, processor time, time on the clock."""

    memory_bytes: int = 2_000_000_000
    cpu_seconds: int = 20
    wall_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class _Died:
    """The image's own child ended under it, so the image may be to blame."""

    detail: str


@dataclass(frozen=True, slots=True)
class _Lost:
    """The pool broke around the image."""


_Result = child.Outcome | _Died | _Lost
_Future = Future[child.Outcome]
_DEFAULT = PoolLimits()


class _Generation:
    """One pebble pool, and what is under way in it."""

    def __init__(self, pool: ProcessPool) -> None:
        self.pool = pool
        self.futures: set[_Future] = set()
        self.progress = time.monotonic()

    def submit(self, limits: PoolLimits, codec: child.Codec, source: bytes, recipe: Recipe) -> _Future:
        arguments = (codec, source, recipe, limits.cpu_seconds)
        future: _Future = self.pool.schedule(child.work, args=arguments, timeout=limits.wall_seconds)
        self.futures.add(future)
        future.add_done_callback(self._done)
        return future

    def _done(self, future: _Future) -> None:
        self.progress = time.monotonic()
        self.futures.discard(future)

    def end(self) -> None:
        """Kill the children; whoever waits for one of the futures is told."""
        self.pool.stop()  # type: ignore[no-untyped-call]
        self.pool.join()
        for future in tuple(self.futures):
            future.cancel()


class CodecPool:
    """Shared by all threads of a worker."""

    def __init__(
        self, processes: int, limits: PoolLimits = _DEFAULT, *, codec: child.Codec = child.default_codec
    ) -> None:
        self._processes = processes
        self._limits = limits
        self._codec = codec
        self._lock = threading.Lock()
        self._closed = False
        self._generation: _Generation | None = None
        self._current()

    def compress(
        self, sources: Sequence[bytes], recipe: Recipe, *, on_wait: Callable[[], None], wait_seconds: float = 30
    ) -> list[Rendition | ImageError]:
        """The renditions, or what is wrong, in the order of `sources`; `on_wait` is called whenever it takes longer.

        Raises `PoolClosedError` where the pool is closed meanwhile, and whatever `on_wait` raises.
        """
        pulse = _Pulse(on_wait, wait_seconds)
        results = self._attempt(sources, recipe, pulse)
        for _ in range(_TRIES):
            lost = [number for number, result in enumerate(results) if isinstance(result, _Lost)]
            again = self._attempt([sources[number] for number in lost], recipe, pulse)
            for number, result in zip(lost, again, strict=True):
                results[number] = result
        return [self._verdict(source, recipe, pulse, result) for source, result in zip(sources, results, strict=True)]

    def close(self) -> None:
        """End all children now; a `compress` under way raises."""
        with self._lock:
            self._closed = True
            generation, self._generation = self._generation, None
        if generation is not None:
            generation.end()

    def _verdict(self, source: bytes, recipe: Recipe, pulse: "_Pulse", result: _Result) -> Rendition | ImageError:
        """An image whose child died is tried again alone, and only then blamed."""
        tries = 1
        while isinstance(result, _Died | _Lost) and tries < _TRIES:
            (result,) = self._attempt([source], recipe, pulse)
            tries += 1
        while isinstance(result, child.OutOfMemory) and tries < _MEMORY_TRIES:
            (result,) = self._attempt([source], recipe, pulse)
            tries += 1
        if isinstance(result, Rendition | ImageError):
            return result
        return CodecCrashed(_complaint(result))

    def _attempt(self, sources: Sequence[bytes], recipe: Recipe, pulse: "_Pulse") -> list[_Result]:
        """Every source once, side by side."""
        if not sources:
            return []
        generation = self._current()
        done: SimpleQueue[tuple[int, _Future]] = SimpleQueue()
        results: list[_Result | None] = [None] * len(sources)
        for number, source in enumerate(sources):
            try:
                future = generation.submit(self._limits, self._codec, source, recipe)
            except RuntimeError:  # it broke just now
                self._give_up(generation)
                results[number] = _Lost()
            else:
                future.add_done_callback(partial(_put, done, number))
        while None in results:
            finished = pulse.next(done)
            if finished is None:
                self._give_up_if_stuck(generation)
                continue
            number, future = finished
            results[number] = self._result(generation, future)
        return [result for result in results if result is not None]

    def _result(self, generation: _Generation, future: _Future) -> _Result:
        if future.cancelled():
            return _Lost()
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, BrokenProcessPool):
            self._give_up(generation)
            return _Lost()
        return self._ending(error)

    def _ending(self, error: BaseException) -> _Result:
        over_cpu = isinstance(error, ProcessExpired) and error.exitcode == -signal.SIGXCPU
        if over_cpu:
            return CodecTimeout(f"the picture took more than {self._limits.cpu_seconds} s of processor time")
        if isinstance(error, ProcessExpired):
            return _Died(f"its process ended with {error.exitcode}")
        if isinstance(error, TimeoutError):
            return CodecTimeout(f"the picture took more than {self._limits.wall_seconds:g} s")
        return child.Failed(f"{type(error).__name__}: {error}")

    def _current(self) -> _Generation:
        with self._lock:
            if self._closed:
                raise PoolClosedError("the codec pool is closed")
            if self._generation is None:
                pool = ProcessPool(
                    max_workers=self._processes,
                    initializer=child.start,
                    initargs=(self._limits.memory_bytes,),
                    context=context(),
                )
                self._generation = _Generation(pool)
            broken = self._generation if not self._generation.pool.active else None  # asking starts the children
        if broken is None:
            return self._generation
        self._give_up(broken)
        return self._current()

    def _give_up(self, generation: _Generation) -> None:
        with self._lock:
            if self._generation is not generation:
                return  # somebody else did
            self._generation = None
        REBUILDS.inc()
        _log.warning("the codec pool broke and is built anew")
        generation.end()

    def _give_up_if_stuck(self, generation: _Generation) -> None:
        """A child that dies with the pool's lock in its hands leaves the others waiting."""
        if time.monotonic() - generation.progress > self._limits.wall_seconds + _SLACK:
            self._give_up(generation)


class _Pulse:
    """Calls `on_wait` about every `seconds` while somebody waits."""

    def __init__(self, on_wait: Callable[[], None], seconds: float) -> None:
        self._on_wait = on_wait
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def next(self, done: SimpleQueue[tuple[int, _Future]]) -> tuple[int, _Future] | None:
        """The next that is done, or None after a while."""
        with suppress(Empty):
            return done.get(timeout=max(0.0, min(1.0, self._next - time.monotonic())))
        if time.monotonic() >= self._next:
            self._on_wait()
            self._next = time.monotonic() + self._seconds
        return None


def _put(done: SimpleQueue[tuple[int, _Future]], number: int, future: _Future) -> None:
    done.put((number, future))


def _complaint(result: _Result) -> str:
    if isinstance(result, child.OutOfMemory):
        return "the picture needs more memory than it may have"
    if isinstance(result, _Died | child.Failed):
        return f"the codec failed: {result.detail}"
    return "the codec's processes kept ending"
