"""One process of the stack: how to start it, when it is ready, how to end it.

A child must not outlive a killed supervisor: on Linux the kernel then sends it `orphan_signal` (PR_SET_PDEATHSIG).
A change of user resets that, so it is set last, between fork and exec.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Protocol

DRAIN_SECONDS = 0.3  # to read the last output of a process that ended
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Tier(IntEnum):
    """Processes of one tier stop together; tiers stop in this order and start in the reverse order."""

    GATEWAY = 0
    SERVICE = 1
    SERVER = 2


@dataclass(frozen=True, kw_only=True)
class Spec:
    """`ready` says whether it serves; `user` is a numeric user and group, or None for our own.

    The command of a `forked` one is a Python module and its arguments: the fork server has its libraries.
    """

    name: str
    tier: Tier
    command: Sequence[str | Path]
    env: Mapping[str, str]
    cwd: Path
    ready: Callable[[], Awaitable[bool]]
    before: Callable[[], None] | None = None
    user: tuple[int, int] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    forked: bool = False


class Process(Protocol):
    """What we use of a running process."""

    pid: int
    stdout: asyncio.StreamReader | None

    @property
    def returncode(self) -> int | None: ...
    async def wait(self) -> int: ...
    def send_signal(self, signal: int) -> None: ...


Start = Callable[[Spec], AbstractAsyncContextManager[Process]]


def die_with_parent(orphan_signal: signal.Signals) -> Callable[[], None]:
    """A function for the child before exec, so that the kernel signals it when its parent dies."""
    parent = os.getpid()

    def ask() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(orphan_signal))
            if os.getppid() != parent:  # the parent died meanwhile
                os._exit(1)

    return ask


def is_alive(pid: int) -> bool:
    """Whether there is such a process, of any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def command_of(pid: int) -> str:
    """The command line of a process; empty if there is none."""
    if Path("/proc/self/cmdline").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    shown = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout


@asynccontextmanager
async def execute(spec: Spec) -> AsyncIterator[Process]:
    """Start the command of `spec`."""
    uid, gid = spec.user or (None, None)
    yield await asyncio.create_subprocess_exec(
        *map(str, spec.command),
        env=dict(spec.env),
        cwd=spec.cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # only the supervisor handles a Ctrl-C in the terminal
        user=uid,
        group=gid,
        extra_groups=[] if spec.user else None,
        preexec_fn=die_with_parent(spec.stop_signal),
    )


class Child:
    """A `Spec` that `start` starts; `tail` are its last lines, and `line(name, text)` is called for each line."""

    def __init__(self, spec: Spec, line: Callable[[str, str], None], start: Start) -> None:
        self.spec = spec
        self._start = start
        self.tail: deque[str] = deque(maxlen=20)
        self.restarts = 0
        self._line = line
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """The running process, if there is one."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def run(self, started: Callable[[], None]) -> int:
        """Start the process, pass on its lines, and return its exit status once it and its descendants have ended."""
        if self.spec.before:
            self.spec.before()
        async with self._start(self.spec) as self._process:
            started()
            pump = asyncio.create_task(self._pump(self._process))
            status = await self._process.wait()
            self.kill()  # its remaining descendants, such as children of a killed worker
            # A descendant in a session of its own may hold the pipe open: its output is not worth waiting for.
            await asyncio.wait({pump}, timeout=DRAIN_SECONDS)
            pump.cancel()
        return status

    async def _pump(self, process: Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                raw = await process.stdout.readline()
            except ValueError:  # a line longer than the buffer, which the reader dropped
                continue
            if not raw:
                return
            text = raw.decode(errors="replace").rstrip()
            self.tail.append(text)
            self._line(self.spec.name, text)

    def signal(self, number: signal.Signals) -> None:
        """Signal only the process itself: a worker that shuts down still needs its children."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the process group."""
        if self._process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
