"""Forks the services from one process that has imported their libraries: they start sooner and share its memory.

For each process, the supervisor's `ForkServer` sends a byte and two descriptors: a socket, and the end of a pipe for
the output. The fork server forks, answers with the new process's id and, when that has ended, with its exit status. The
new process reads from the socket what to run. ADR 18 says why.

The traps: the fork server must have one thread only, and it must fork before asyncio runs; and it imports libraries but
no service, because a module that declares metrics would show them in every service.
"""

import asyncio
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, closing, suppress
from importlib import import_module
from typing import BinaryIO, NoReturn

from setproctitle import setproctitle, setthreadtitle

from deploy.local.process import Process, Spec, die_with_parent

LIBRARIES = (
    "services",  # no service: it imports redis-py as all of them do
    "dramatiq.brokers.redis",
    "prometheus_client",
    "psycopg",
    "pydantic_settings",
    "redis.asyncio",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlmodel",
    "starlette.applications",
    "structlog",
    "uvicorn.main",
    "uvicorn.protocols.http.httptools_impl",
    "shared.schemas.tables",
)
SAFE = sys.platform == "linux"
"""Elsewhere libraries hold what does not survive a fork, as the Objective-C runtime does, and each service is a process
of its own."""
LOST = "the fork server has ended"


class Forked:
    """A process that the fork server started, with the parts of `asyncio.subprocess.Process` that we use."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, control: asyncio.StreamReader) -> None:
        self.pid = pid
        self.stdout: asyncio.StreamReader | None = stdout
        self.returncode: int | None = None
        self._control = control

    async def wait(self) -> int:
        """Its exit status; a fork server that ended takes its processes with it."""
        status = await self._control.readline()
        self.returncode = int(status) if status else -signal.SIGTERM
        return self.returncode

    def send_signal(self, signal: int) -> None:
        """Signal this process alone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal)


class ForkServer:
    """The supervisor's side."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self._pid = pid
        self._channel = channel

    @asynccontextmanager
    async def fork(self, spec: Spec) -> AsyncIterator[Process]:
        """Start `spec`, whose command is a module and its arguments; raises OSError if the fork server has ended."""
        control, output = self._ask()
        with output:
            reader, writer = await asyncio.open_connection(sock=control)
            with closing(writer):
                order = {"name": spec.name, "command": spec.command, "env": dict(spec.env), "cwd": spec.cwd}
                writer.write(json.dumps(order, default=str).encode() + b"\n")
                pid = await reader.readline()
                if not pid:
                    raise OSError(LOST)
                lines = asyncio.StreamReader()
                pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
                    lambda: asyncio.StreamReaderProtocol(lines), output
                )
                with closing(pipe):
                    yield Forked(int(pid), lines, reader)

    def _ask(self) -> tuple[socket.socket, BinaryIO]:
        """Have a process forked; our ends of its control socket and of its output."""
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        output = os.fdopen(read, "rb", 0)
        try:
            socket.send_fds(self._channel, [b"+"], [theirs.fileno(), write])
        except OSError as error:
            ours.close()
            output.close()
            raise OSError(LOST) from error
        finally:
            theirs.close()
            os.close(write)
        return ours, output

    async def ended(self) -> None:
        """Return when the fork server has ended, and the services with it; it says nothing before."""
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(self._channel)

    def close(self) -> None:
        """End it, and all that it forked."""
        self._channel.close()
        os.waitpid(self._pid, 0)


def start(secrets: Collection[str] = ()) -> ForkServer:
    """Fork the fork server from this process, which must have one thread and no event loop.

    `secrets`: variables of our environment of which no forked process may keep a trace. Returns in this process alone.
    A service runs inside this call, and leaves it by SystemExit.
    """
    ours, theirs = socket.socketpair()
    die = die_with_parent(signal.SIGTERM)
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        theirs.close()
        return ForkServer(pid, ours)
    try:
        die()
        os.setsid()  # only the supervisor handles a Ctrl-C in the terminal
        ours.close()
        _close_all_but(theirs.fileno())
        _forget(secrets, theirs.fileno())
    except BaseException:  # noqa: BLE001 - what the supervisor would do about it is not ours to do
        traceback.print_exc()
        os._exit(1)
    return run(theirs)


def run(channel: socket.socket) -> NoReturn:
    """Be the fork server of the supervisor at the other end of `channel`, and then one of its services."""
    try:
        _name("fork-server", [])
        _import_libraries()
        control, output = _serve(channel)
    except BaseException:  # noqa: BLE001 - what the supervisor would do about it is not ours to do
        traceback.print_exc()
        os._exit(1)
    _become(control, output)


def _forget(secrets: Collection[str], channel: int) -> None:
    """Become a new program if our environment has any of `secrets`: only that has no trace of them in its memory."""
    kept = {name: value for name, value in os.environ.items() if name not in secrets}
    if len(kept) == len(os.environ):
        return
    os.set_inheritable(channel, True)
    again = f"import socket; from deploy.local import fork_server; fork_server.run(socket.socket(fileno={channel}))"
    os.execve(sys.executable, [sys.executable, "-c", again], kept)  # noqa: S606 - itself


def _close_all_but(kept: int) -> None:
    """The lock of the data folder, above all, is the supervisor's alone."""
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


def _import_libraries() -> None:
    for library in LIBRARIES:
        import_module(library)
    # A collection writes to each object that it visits, and so ends the sharing of its memory.
    gc.disable()
    gc.freeze()


def _serve(channel: socket.socket) -> tuple[socket.socket, int]:
    """Fork on demand, and end with the supervisor; returns in the new processes alone."""
    die = die_with_parent(signal.SIGTERM)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    while True:
        readable = select.select([channel.fileno(), woken], [], [])[0]
        if woken in readable:
            os.read(woken, 1024)
            _report_ended(running)
        if channel.fileno() not in readable:
            continue
        asked, descriptors, _, _ = socket.recv_fds(channel, 1, 2)
        if not asked:
            for pid in running:
                os.kill(pid, signal.SIGTERM)
            os._exit(0)
        control, output = socket.socket(fileno=descriptors[0]), descriptors[1]
        pid = os.fork()
        if not pid:
            die()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for inherited in (channel, *running.values()):
                inherited.close()
            os.close(woken)
            os.close(wake)
            return control, output
        os.close(output)
        running[pid] = control
        _answer(control, pid)


def _report_ended(running: dict[int, socket.socket]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with running.pop(pid) as control:
                _answer(control, os.waitstatus_to_exitcode(status))


def _answer(control: socket.socket, number: int) -> None:
    with suppress(OSError):  # the supervisor has ended, and we shall
        control.sendall(b"%d\n" % number)


def _become(control: socket.socket, output: int) -> NoReturn:
    """Do what `python -m` does, in this process."""
    os.setsid()
    with control, control.makefile() as orders:
        order = json.loads(orders.readline() or "null")
    if order is None:  # the supervisor has ended
        os._exit(1)
    with open(os.devnull) as nothing:  # noqa: PTH123 - a descriptor
        os.dup2(nothing.fileno(), 0)
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, write_through=True)  # type: ignore[union-attr]
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    _name(order["name"], order["command"])
    gc.enable()
    sys.argv = order["command"]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except Exception:  # noqa: BLE001 - as an interpreter shows it
        traceback.print_exc()
        sys.exit(1)
    sys.exit(0)


def _name(name: str, command: list[str]) -> None:
    """What lists of processes show, where all would be the supervisor."""
    setproctitle(" ".join(["halftone", name, *command]))
    setthreadtitle(name)  # what `ps -o comm` shows
