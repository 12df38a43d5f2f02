"""The supervisor with processes that do nothing but live."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from deploy.local.process import DRAIN_SECONDS, Spec, Tier
from deploy.local.supervisor import START_TRIES, STOP_WITHIN, Supervisor
from tests.stack import until


def sleeper(name: str, tier: Tier, is_ready: Callable[[], bool]) -> Spec:
    async def ready() -> bool:
        return is_ready()

    return Spec(name=name, tier=tier, command=["sleep", "60"], env=os.environ, cwd=Path("/"), ready=ready)


def kill(supervisor: Supervisor, name: str) -> None:
    """And wait until it lives again."""
    child = supervisor.children[name]
    pid = until(lambda: child.pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: child.pid not in (None, pid))


def test_a_server_that_dies_again_and_again_while_the_services_start_is_started_each_time() -> None:
    async def scene() -> None:
        supervisor = Supervisor(lambda *_: None, lambda: None)
        await supervisor.start([sleeper("server", Tier.SERVER, lambda: True)])
        up = False
        starting = asyncio.create_task(supervisor.start([sleeper("service", Tier.SERVICE, lambda: up)]))
        try:
            for _ in range(START_TRIES + 1):
                await asyncio.to_thread(kill, supervisor, "server")
            up = True
            await starting
        finally:
            await supervisor.stop()

    asyncio.run(scene())


def test_what_never_ends_by_itself_is_killed_within_the_15_seconds_of_a_stop() -> None:
    assert sum(within + DRAIN_SECONDS for within in STOP_WITHIN.values()) <= 14
