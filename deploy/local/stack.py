"""Runs the whole stack in the foreground: servers, migrations, services, gateway; then waits for a signal."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from typing import Any

from deploy.local import fork_server, postgres, schema
from deploy.local.data_dir import DataDir, is_free
from deploy.local.fork_server import LOST, ForkServer
from deploy.local.logins import OF_MIGRATIONS, SECRETS
from deploy.local.process import die_with_parent
from deploy.local.processes import Processes
from deploy.local.settings import ROOT, LocalSettings
from deploy.local.supervisor import StartFailed, Supervisor

COLOURS = (36, 33, 32, 35, 34, 31)
PORT_FREED_WITHIN = 6.0  # seconds that the gateway of a killed stack may take to end


class Stack:
    """`servers_only` starts only PostgreSQL and Valkey and applies the migrations."""

    def __init__(self, settings: LocalSettings, data: DataDir, *, servers_only: bool = False) -> None:
        self._settings = settings
        self._data = data
        self._servers_only = servers_only
        self._forks: ForkServer | None = None
        self._supervisor = Supervisor(self._print, self._record)
        self._processes: Processes | None = None
        self._ready = False

    def run(self) -> int:
        """Run until SIGTERM or Ctrl-C; the exit status. The caller holds the data folder and has one thread."""
        if fork_server.SAFE and not self._servers_only:
            self._forks = fork_server.start(SECRETS)  # imports the libraries while the servers start
            self._supervisor = Supervisor(self._print, self._record, self._forks.fork)
        crashed = bool(self._data.read_state())
        # First of all: `make stop` ends the process recorded here, and a killed stack left another one's pid.
        self._data.write_state({"pid": os.getpid(), "ready": False, "processes": {}})
        try:
            if not self._servers_only:
                require_free_port(self._settings, after_crash=crashed)
            self._processes = Processes(self._settings, self._data)
            return asyncio.run(self._run(self._processes))
        except StartFailed as failure:
            print(f"halftone: {failure}", file=sys.stderr, flush=True)
            return 1
        finally:
            self._data.state.unlink(missing_ok=True)
            if self._forks:
                self._forks.close()

    async def _run(self, processes: Processes) -> int:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP for us
                asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        starting = asyncio.create_task(self._start(processes))
        ends: list[asyncio.Task[Any]] = [asyncio.create_task(stopped.wait())]
        if self._forks:
            ends.append(asyncio.create_task(self._forks.ended()))
        try:
            await asyncio.wait([starting, *ends], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            starting.cancel()
            if not stopped.is_set():
                raise StartFailed(f"{LOST}, and the services with it")
            self._print("stack", "stopping")
        finally:
            await self._supervisor.stop()
        self._print("stack", "stopped")
        return 0

    async def _start(self, processes: Processes) -> None:
        begun = time.monotonic()
        if not self._settings.database_url:
            postgres.prepare(self._data)
        await self._supervisor.start(processes.servers())
        await self._migrate(processes)
        if not self._servers_only:
            await self._supervisor.start([*processes.services(), processes.gateway()])
        self._ready = True
        self._record()
        what = "servers are" if self._servers_only else f"Halftone is ready at {self._settings.base_url},"
        self._print("stack", f"{what} up after {time.monotonic() - begun:.1f} s; Ctrl-C or `make stop` ends it")

    async def _migrate(self, processes: Processes) -> None:
        # Alembic's entry sees whether they are new.
        given = any(os.environ.get(name) or os.environ.get(f"{name}_FILE") for name in OF_MIGRATIONS)
        if not given and await schema.is_current(processes.logins.database_url):
            if not self._settings.database_url:  # the grants may be newer than the tables
                schema.grant(processes.logins.database_url, processes.logins.passwords)
            return
        self._print("migrate", "bringing the tables up to date")
        process = await asyncio.create_subprocess_exec(
            *processes.migrate(),
            cwd=ROOT,
            env=processes.migration_env(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
        try:
            shown = (await process.communicate())[0].decode(errors="replace").strip()
        except asyncio.CancelledError:
            process.kill()
            raise
        if process.returncode:
            if shown.startswith("halftone: "):  # its own error line about the settings
                raise StartFailed(shown.removeprefix("halftone: "))
            last = "\n".join(f"    {line}" for line in shown.splitlines()[-20:])
            raise StartFailed(f"the migrations failed; their last lines:\n{last}")
        for line in shown.splitlines():
            self._print("migrate", line)

    def _print(self, name: str, text: str) -> None:
        label = f"{name:<10}|"
        if sys.stdout.isatty():
            label = f"\x1b[{COLOURS[sum(name.encode()) % len(COLOURS)]}m{label}\x1b[0m"
        # A closed terminal or pipe or a full disk is no reason to stop: unread pipes would block the processes.
        with contextlib.suppress(OSError):
            print(label, text, flush=True)

    def _record(self) -> None:
        if self._processes is None:
            return
        children = self._supervisor.children.values()
        state = {
            "pid": os.getpid(),
            "ready": self._ready,
            "url": None if self._servers_only else self._settings.base_url,
            "database_url": self._processes.logins.database_url,
            "redis_url": self._processes.logins.redis_url,
            "blob_url": self._processes.blob_url,
            "ports": self._processes.port,
            "processes": {c.spec.name: {"pid": c.pid, "restarts": c.restarts} for c in children},
        }
        try:
            self._data.write_state(state)
        except OSError as error:  # full disk: processes are restarted all the same
            self._print("stack", f"the state of the processes could not be recorded: {error}")


def require_free_port(settings: LocalSettings, *, after_crash: bool) -> None:
    """Raise StartFailed if the gateway's port is taken; after a kill -9 the old gateway has time to end."""
    deadline = time.monotonic() + (PORT_FREED_WITHIN if after_crash else 0)
    while not is_free(settings.bind, settings.port):
        if time.monotonic() > deadline:
            raise StartFailed(
                f"port {settings.port} on {settings.bind} is already taken: set HALFTONE_PORT to another one"
            )
        time.sleep(0.1)
