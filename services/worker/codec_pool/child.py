"""One child process of the codec: the worker's handle to it (`Child`), and what it runs (`serve`).

The traps: the process objects of multiprocessing are not safe between threads (starting one polls all others), so they
are started and ended under one lock; and the fork server outlives a killed worker while a child lives, so each child
watches the worker itself.
"""

import ctypes
import fcntl
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from services.worker.codec import Rendition
from services.worker.codec_pool import sandbox
from services.worker.codec_pool.frames import Answer, Failure, Outcome, Stream
from shared.errors import ImageError
from shared.recipe import Recipe

Codec = Callable[[bytes, Recipe], Rendition]

_START_SECONDS = 20.0
_END_SECONDS = 5.0
_CONFINED, _UNCONFINED = b"c", b"l"  # what a child says first
_PR_SET_PDEATHSIG = 1
_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED of a process, as clock_getcpuclockid(3) makes it
SLOW_NICE = 10
"""A tenth of what a process of the usual priority gets beside it: weights 110 and 1,024 (sched(7))."""
_context: Final = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["services.worker.codec_pool.preload"])
_processes: Final = threading.Lock()
_warned: Final = threading.Event()
_log = logging.getLogger(__name__)


class Child:
    """A running child. It belongs to one thread; only `hang_up` may be called by another."""

    def __init__(self, codec: Codec, *, memory_bytes: int, cpu_seconds: int) -> None:
        """Raises `OSError` or `EOFError` where the child does not start; that is no picture's fault."""
        ours, theirs = socket.socketpair()
        self._stream = Stream(ours)
        self._stream.in_steps()
        self._asked = 0
        with theirs:
            arguments = (theirs, codec, memory_bytes, cpu_seconds)
            self._process = _context.Process(target=serve, args=arguments, daemon=True)
            try:
                with _processes:
                    self._process.start()
            except BaseException:
                self._stream.close()
                raise
        try:
            _report(self._stream.exactly(1, _START_SECONDS)[0])
        except BaseException:
            self.end()
            raise

    def ask(self, source: BinaryIO, recipe: Recipe, seconds: float, more: Callable[[], float] = lambda: 0.0) -> Answer:
        """Raises `TimeoutError` after `seconds` and those that `more` gives then, another `OSError` or `EOFError` where
        the child died.

        `ValueError`: the child's answer is none; it has to be replaced.
        """
        self._asked = (self._asked + 1) % 2**32
        self._stream.send_request(self._asked, recipe, source.fileno())
        return self._stream.receive_answer(self._asked, seconds, more)

    def cpu_seconds(self) -> float:
        """What it has used so far. Raises `OSError` where it is gone, or where the system has no such clock."""
        pid = self._process.pid
        assert pid is not None
        return time.clock_gettime(~pid << 3 | _PROCESS_CLOCK)

    def slow_down(self) -> None:
        """Let all others have the processor first, from now on: to be quick again takes a right that we lack."""
        pid = self._process.pid
        with suppress(OSError):  # it is gone, or the system has no such folder
            for task in Path(f"/proc/{pid}/task").iterdir():
                usual = os.getpriority(os.PRIO_PROCESS, int(task.name))
                os.setpriority(os.PRIO_PROCESS, int(task.name), min(usual + SLOW_NICE, 19))

    def hang_up(self) -> None:
        """Let a running `ask` fail at once."""
        self._stream.shut_down()

    def end(self) -> int | None:
        """Kill it if it still runs; its exit code, or None where that is not known in time."""
        with _processes:
            if self._process.exitcode is None:  # otherwise its id may be another process's by now
                self._process.kill()
            self._process.join(_END_SECONDS)
            code = self._process.exitcode
            if code is not None:
                self._process.close()
        self._stream.close()
        return code


def _report(said: bytes) -> None:
    if said != _CONFINED and not _warned.is_set():
        _warned.set()
        _log.warning(
            "this system has no filter for system calls that we know: a picture that takes over its codec child "
            "may open files and connections as the worker may (docs/images.md)"
        )


def serve(stream: socket.socket, codec: Codec, memory_bytes: int, cpu_seconds: int) -> None:
    """The child's whole life: one picture after the other, until the worker hangs up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # for the worker, which then closes the pool
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sentinel = _die_with_parents()
    _limit(resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS, memory_bytes)
    worker = Stream(stream)
    confined = sandbox.enter({stream.fileno(), sentinel})
    with suppress(EOFError, OSError):
        worker.send(_CONFINED if confined else _UNCONFINED)
        while True:
            number, recipe, descriptor = worker.receive_request()
            _allow_cpu(cpu_seconds)
            source = _read(descriptor)
            worker.send_answer(number, source, _outcome(codec, source, recipe))


def _read(descriptor: int) -> bytes:
    """From its start: a child that died may have read it before."""
    try:
        return os.pread(descriptor, os.lseek(descriptor, 0, os.SEEK_END), 0)
    finally:
        os.close(descriptor)


def _outcome(codec: Codec, source: bytes, recipe: Recipe) -> Outcome:
    try:
        made: object = codec(source, recipe)
    except ImageError as error:
        return error
    except MemoryError:
        return Failure("the picture needs more memory than it may have", tries=2)
    except Exception as error:  # noqa: BLE001 - a bug of ours or of a library
        return Failure(f"the codec failed: {type(error).__name__}: {error}")
    if isinstance(made, Rendition):
        return made
    return Failure(f"the codec failed: a {type(made).__name__} is no answer")


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


def _die_with_parents() -> int:
    """End with the fork server and with the worker, even in the middle of a picture and deep in C.

    Returns a descriptor that has to stay open for it.

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
    return worker.sentinel
