"""One child process of the codec: the worker's handle to it (`Child`), the frames between them, and what it runs.

The traps: the process objects of multiprocessing are not safe between threads (starting one polls all others), so they
are started and ended under one lock; and the fork server outlives a killed worker while a child lives, so each child
watches the worker itself.
"""

import ctypes
import fcntl
import multiprocessing
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Final

from services.worker.codec import Rendition
from shared.errors import ImageError
from shared.recipe import Recipe

Codec = Callable[[bytes, Recipe], Rendition]

_START_SECONDS = 20.0
_END_SECONDS = 5.0
_STEP_SECONDS = 0.2
_LENGTH: Final = struct.Struct(">Q")
_PR_SET_PDEATHSIG = 1
_context: Final = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["services.worker.codec_pool.preload"])
_processes: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Failure:
    """No rendition, and perhaps not the picture's fault: it is final after `tries` attempts in all."""

    detail: str
    tries: int = 1


Outcome = Rendition | ImageError | Failure


class Child:
    """A running child. It belongs to one thread; only `hang_up` may be called by another."""

    def __init__(self, codec: Codec, *, memory_bytes: int, cpu_seconds: int) -> None:
        """Raises `OSError` or `EOFError` where the child does not start; that is no picture's fault."""
        ours, theirs = socket.socketpair()
        self._frames = _Frames(ours)
        with theirs:
            arguments = (theirs, codec, memory_bytes, cpu_seconds)
            self._process = _context.Process(target=serve, args=arguments, daemon=True)
            try:
                with _processes:
                    self._process.start()
            except BaseException:
                self._frames.close()
                raise
        try:
            self._frames.receive(_START_SECONDS)
        except BaseException:
            self.end()
            raise

    def ask(self, source: bytes, recipe: Recipe, seconds: float) -> Outcome:
        """Raises `TimeoutError` after `seconds`, another `OSError` or `EOFError` where the child died."""
        self._frames.send(pickle.dumps((source, recipe)), seconds)
        outcome = pickle.loads(self._frames.receive(seconds))  # noqa: S301 - from our own child
        if not isinstance(outcome, Rendition | ImageError | Failure):
            raise TypeError(f"a {type(outcome).__name__} is no answer")
        return outcome

    def hang_up(self) -> None:
        """Let a running `ask` fail at once."""
        self._frames.shut_down()

    def end(self) -> int | None:
        """Kill it if it still runs; its exit code, or None where that is not known in time."""
        with _processes:
            if self._process.exitcode is None:  # otherwise its id may be another process's by now
                self._process.kill()
            self._process.join(_END_SECONDS)
            code = self._process.exitcode
            if code is not None:
                self._process.close()
        self._frames.close()
        return code


class _Frames:
    """Messages over a stream socket, each behind its length in 8 bytes. A time limit covers the whole message."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream

    def send(self, body: bytes, seconds: float | None = None) -> None:
        self._stream.settimeout(seconds)
        self._stream.sendall(_LENGTH.pack(len(body)) + body)

    def receive(self, seconds: float = inf) -> bytearray:
        """Waits in short steps: if this process is frozen meanwhile (a paused container), that is one step."""
        header, left = self._exactly(_LENGTH.size, seconds)
        (length,) = _LENGTH.unpack(header)
        return self._exactly(length, left)[0]

    def shut_down(self) -> None:
        with suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stream.close()

    def _exactly(self, size: int, left: float) -> tuple[bytearray, float]:
        """The bytes, and what is `left` of the time."""
        body = bytearray(size)
        rest = memoryview(body)
        while rest:
            step = min(left, _STEP_SECONDS)
            if step <= 0:
                raise TimeoutError
            began = time.monotonic()
            self._stream.settimeout(step if left < inf else None)
            with suppress(TimeoutError):
                count = self._stream.recv_into(rest)
                if not count:
                    raise EOFError
                rest = rest[count:]
            left -= min(step, time.monotonic() - began)
        return body, left


def serve(stream: socket.socket, codec: Codec, memory_bytes: int, cpu_seconds: int) -> None:
    """The child's whole life: one picture after the other, until the worker hangs up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # for the worker, which then closes the pool
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parents()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS, memory_bytes)
    frames = _Frames(stream)
    with suppress(EOFError, OSError):
        frames.send(b"")
        while True:
            source, recipe = pickle.loads(frames.receive())  # noqa: S301 - from our own worker
            _allow_cpu(cpu_seconds)
            frames.send(_outcome(codec, source, recipe))


def _outcome(codec: Codec, source: bytes, recipe: Recipe) -> bytes:
    try:
        return pickle.dumps(codec(source, recipe))
    except ImageError as error:
        return pickle.dumps(error)
    except MemoryError:
        return pickle.dumps(Failure("the picture needs more memory than it may have", tries=2))
    except Exception as error:  # noqa: BLE001 - a bug of ours or of a library; its exception may not be picklable
        return pickle.dumps(Failure(f"the codec failed: {type(error).__name__}: {error}"))


def _limit(kind: int, amount: int) -> None:
    """Some systems know a limit and refuse to set it; the wall clock remains."""
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (amount, amount))


def _allow_cpu(seconds: int) -> None:
    """The limit counts from the start of the process, so each image moves it on; SIGXCPU ends the child."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _die_with_parents() -> None:
    """End with the fork server and with the worker, even in the middle of a picture and deep in C.

    The worker holds the other end of the sentinel pipe: when it closes, the kernel sends SIGIO, which ends a process.
    (macOS ignores SIGIO: there a child ends after its picture.)
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    worker = multiprocessing.parent_process()
    assert worker is not None
    fcntl.fcntl(worker.sentinel, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(worker.sentinel, fcntl.F_GETFL)
    fcntl.fcntl(worker.sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)
    if not worker.is_alive():  # it died before the line above
        os._exit(1)
