"""What a picture might try that has taken over its codec child; the source says which."""

import ctypes
import fcntl
import os
import pickle
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from services.worker.codec import Rendition
from services.worker.codec_pool.frames import _ANSWER, _Header
from shared.recipe import Recipe
from tests.unit.worker.planted import echo

_libc = ctypes.CDLL(None, use_errno=True)
NO_SIGNAL = 0  # asks whether one might be sent: a test that fails must kill nobody


def attempt(source: bytes, _recipe: Recipe) -> Rendition:
    """`refused` in the answer's bytes, or what was achieved. The source: a name, a colon, a path or a process id."""
    name, _, rest = source.partition(b":")
    try:
        return echo(f"achieved {ATTEMPTS[name.decode()](rest.decode())!r}".encode())
    except (OSError, RuntimeError, ValueError) as error:  # `RuntimeError`: a thread; `ValueError`: a limit
        return echo(f"refused: {error}".encode())


def _forks(_: str) -> int:
    made = 0
    for _number in range(100):
        with suppress(OSError):
            if os.fork() == 0:
                os._exit(0)
            made += 1
    if not made:
        raise PermissionError("not one of a hundred")
    return made


def _own_source(_: str) -> object:
    return [os.open(f"/proc/self/fd/{number}", os.O_RDWR) for number in range(3)]


def _a_gigabyte(rest: str) -> int:
    return Path(rest).write_bytes(bytes(1_000_000_000))


def _a_gigabyte_in_memory(_: str) -> int:
    return os.write(os.memfd_create("much"), bytes(1_000_000_000))


def _signal_for_the_worker(rest: str) -> int:
    """A pipe that wakes another process, by a signal of one's choice."""
    for descriptor in range(3, 64):
        with suppress(OSError):
            return fcntl.fcntl(descriptor, fcntl.F_SETOWN, int(rest))
    raise PermissionError("none")


def _call(number: int, *arguments: int) -> int:
    result = int(_libc.syscall(number, *(ctypes.c_long(argument) for argument in arguments)))
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _answer(size: int) -> None:
    header = _ANSWER.pack(*_Header(1, b"R", b"", size))
    for descriptor in range(3, 64):
        with suppress(OSError):
            os.write(descriptor, header)


def claim(_: str) -> None:
    """An answer of four gigabytes."""
    _answer(2**32 - 1)
    time.sleep(60)


def drip(_: str) -> None:
    """An answer of 100 MB, a byte at a time."""
    _answer(100_000_000)
    while True:
        for descriptor in range(3, 64):
            with suppress(OSError):
                os.write(descriptor, b"x")
        time.sleep(0.01)


def half(_: str) -> None:
    """Half a header, and silence."""
    for descriptor in range(3, 64):
        with suppress(OSError):
            os.write(descriptor, b"half a header")
    time.sleep(60)


class _Bomb:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return Path(self.path).touch, ()


def pickled(rest: str) -> None:
    """Runs code where it is unpickled."""
    for descriptor in range(3, 64):
        with suppress(OSError):
            os.write(descriptor, pickle.dumps(_Bomb(rest)) * 50)
    time.sleep(60)


ATTEMPTS: dict[str, Callable[[str], object]] = {
    "open a socket": lambda _: socket.socket(),
    "open a pair of sockets": lambda _: socket.socketpair(),
    "read its environment": lambda _: Path("/proc/self/environ").read_bytes(),
    "read the worker's environment": lambda rest: Path(f"/proc/{rest}/environ").read_bytes(),
    "read the worker's memory": lambda rest: os.open(f"/proc/{rest}/mem", os.O_RDONLY),
    "read a blob": lambda rest: Path(rest).read_bytes(),
    "look at a blob": os.stat,
    "list a folder": lambda rest: os.listdir(Path(rest).parent),  # noqa: PTH208
    "remove a blob": lambda rest: Path(rest).unlink(),
    "open what it has": _own_source,
    "run a program": lambda _: os.execv(sys.executable, [sys.executable, "-c", "1"]),
    "run a program beside it": lambda _: subprocess.run([sys.executable, "-c", "1"], check=True),
    "write a gigabyte": _a_gigabyte,
    "write a gigabyte in memory": _a_gigabyte_in_memory,
    "fork": _forks,
    "start a thread": lambda _: threading.Thread(target=time.sleep, args=(1,)).start(),
    "kill the worker": lambda rest: os.kill(int(rest), NO_SIGNAL),
    "kill the fork server": lambda _: os.kill(os.getppid(), NO_SIGNAL),
    "kill all": lambda _: os.kill(-1, NO_SIGNAL),
    "own a signal": _signal_for_the_worker,
    "trace the worker": lambda rest: _libc.ptrace(16, int(rest), 0, 0) == 0 or _call(10_000),
    "lift its memory limit": lambda _: resource.setrlimit(resource.RLIMIT_DATA, (-1, -1)),
    "limit the worker": lambda rest: resource.prlimit(int(rest), resource.RLIMIT_CPU, (-1, -1)),
    "leave the filter": lambda _: _call(10_000),
    "claim": claim,
    "drip": drip,
    "half": half,
    "pickled": pickled,
}
CALLS = tuple(name for name, act in ATTEMPTS.items() if act not in {claim, drip, half, pickled})
