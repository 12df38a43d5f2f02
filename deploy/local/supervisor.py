"""Starts the processes of the stack in order, restarts those that die, and stops all of them in order.

docs/adr/0005 says why this is not the supervisor library.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterable

from deploy.local.process import Child, Spec, Start, Tier, execute

# Seconds until SIGKILL. Each tier may take DRAIN_SECONDS more, and a whole stop 15 s.
STOP_WITHIN = {Tier.GATEWAY: 2.2, Tier.SERVICE: 8.0, Tier.SERVER: 2.8}
START_WITHIN = 60.0
POLL_SECONDS = 0.02
START_TRIES = 3
BACK_OFF = (0.2, 0.5, 1.0, 2.0, 5.0)
STEADY = 20.0  # seconds a process must live for its back-off to begin anew


class StartFailed(Exception):
    """A process did not start; the message is for a person and ends with its last lines."""


def describe(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exited with status {status}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name}"
    return f"was ended by signal {-status}"


class Supervisor:
    """`line(name, text)` prints; `changed()` is called when a process starts or ends; `fork` starts the forked ones."""

    def __init__(
        self, line: Callable[[str, str], None], changed: Callable[[], None], fork: Start | None = None
    ) -> None:
        self.children: dict[str, Child] = {}
        self._line = line
        self._changed = changed
        self._fork: Start = fork or execute
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[Tier] = set()
        self._were_ready: set[str] = set()

    async def start(self, specs: Iterable[Spec]) -> None:
        """Start `specs` together and return once each is ready; raise StartFailed if one keeps ending."""
        specs = list(specs)
        for spec in specs:
            self.children[spec.name] = Child(spec, self._line, self._fork if spec.forked else execute)
            self._tasks[spec.name] = asyncio.create_task(self._keep(self.children[spec.name]))
        deadline = time.monotonic() + START_WITHIN
        for spec in specs:
            await self._until_ready(spec, deadline)

    async def _until_ready(self, spec: Spec, deadline: float) -> None:
        task, child = self._tasks[spec.name], self.children[spec.name]
        while True:
            if task.done():
                await task  # raises its error
            if child.pid and await _is_ready(spec):
                self._were_ready.add(spec.name)
                return
            if time.monotonic() > deadline:
                raise StartFailed(_report(child, f"was not ready within {START_WITHIN:.0f} s"))
            await asyncio.sleep(POLL_SECONDS)

    async def _keep(self, child: Child) -> None:
        quick_ends = 0
        while True:
            began = time.monotonic()
            try:
                end = describe(await child.run(self._changed))
            except OSError as error:
                end = f"could not be started: {error}"
            self._changed()
            if child.spec.tier in self._stopping:
                return
            quick_ends = 1 if time.monotonic() - began > STEADY else quick_ends + 1
            if child.spec.name not in self._were_ready and quick_ends >= START_TRIES:
                raise StartFailed(_report(child, end))
            pause = BACK_OFF[min(quick_ends, len(BACK_OFF)) - 1]
            self._line(child.spec.name, f"{end}; starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            child.restarts += 1

    async def stop(self) -> None:
        """Stop everything: the gateway first, then the services, then the servers."""
        for tier in Tier:
            self._stopping.add(tier)
            names = [name for name, child in self.children.items() if child.spec.tier is tier]
            await self._stop(names, STOP_WITHIN[tier])

    async def _stop(self, names: list[str], within: float) -> None:
        tasks = [self._tasks[name] for name in names]
        for name in names:
            child = self.children[name]
            if child.pid:
                child.signal(child.spec.stop_signal)
            else:
                self._tasks[name].cancel()  # between two starts
        if tasks:
            await asyncio.wait(tasks, timeout=within)
        for name in names:
            if self.children[name].pid:
                self._line(name, f"did not stop within {within:g} s: killed")
                self.children[name].kill()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _is_ready(spec: Spec) -> bool:
    try:
        async with asyncio.timeout(2):
            return await spec.ready()
    except (OSError, TimeoutError):
        return False


def _report(child: Child, what: str) -> str:
    return "\n".join([f"{child.spec.name} {what}; its last lines:", *(f"    {line}" for line in child.tail)])
