"""The faults that a seed chooses from. One that this machine does not allow raises `Skipped` with the reason."""

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import LiteralString

from tests.chaos.system import System
from tests.chaos.world import World
from tests.stack import pings, until

Heal = Callable[[], object]


class Skipped(Exception):
    """This machine does not allow the fault; the message says why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`start` begins it, with these arguments, and returns what ends it, or None if it ends by itself.

    `seconds` are the limits of its duration. `kills`: a process of ours ends without cleaning up. `outage`: meanwhile a
    call may be answered 503 with Retry-After.
    """

    name: str
    start: Callable[..., Heal | None]
    arguments: tuple[str, ...] = ()
    seconds: tuple[float, float] = (1.0, 4.0)
    kills: bool = False
    outage: bool = True

    def begin(self, system: System, random: Random) -> Heal:
        return self.start(system, random, *self.arguments) or _nothing


def kill(world: World, random: Random, *names: str) -> None:
    """Kill -9 one of these processes of the stack; its supervisor starts it again."""
    world.stack.kill(random.choice(names))


def kill_codec_child(world: World, random: Random) -> None:
    """Kill -9 a descendant of a worker: the forkserver or a child that compresses or idles."""
    children = world.stack.pids(random.choice(("worker-1", "worker-2")))[1:]
    if children:
        os.kill(random.choice(children), signal.SIGKILL)


def freeze(world: World, random: Random, *names: str) -> Heal:
    """SIGSTOP, and at the end SIGCONT: the others took it for dead, and it continues where it was."""
    pid = world.stack.kill(random.choice(names), signal.SIGSTOP)
    return lambda: _go_on(pid)


def kill_server(world: World, random: Random, name: str) -> None:
    world.servers.restart(name, signal.SIGKILL)


def kill_backend(world: World, random: Random) -> None:
    """Kill -9 one session's process: PostgreSQL ends all sessions and recovers."""
    with world.database() as connection:
        pids = [pid for (pid,) in connection.execute("SELECT pid" + _SESSIONS)]
    if pids:
        os.kill(random.choice(pids), signal.SIGKILL)


def terminate_sessions(world: World, random: Random) -> None:
    with world.database() as connection:
        connection.execute("SELECT pg_terminate_backend(pid)" + _SESSIONS)


_SESSIONS: LiteralString = """
FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def flush_all(world: World, random: Random) -> None:
    with world.redis() as client:
        client.flushall()


def restart_valkey(world: World, random: Random, keeps: str) -> None:
    """Kill -9 and start again: with all it had (`all`), with what it had a moment before (`old`), or with nothing."""
    dump = world.servers.data_dir / "dump.rdb"
    dump.unlink(missing_ok=True)
    if keeps in ("all", "old"):
        with world.redis() as client:
            client.save()
    if keeps == "old":
        try:
            until(lambda: _moved_on(world), within=5)
        except AssertionError:  # another fault holds all up, or all is done
            raise Skipped("hardly anything was written to Valkey, so its file would not be old") from None
    world.servers.restart("valkey", signal.SIGKILL)
    until(lambda: pings(world.servers.redis_url), within=20)
    dump.unlink(missing_ok=True)


def partition(world: World, random: Random, name: str) -> Heal:
    world.proxies[name].partition()
    return world.proxies[name].heal


def delay(world: World, random: Random, name: str) -> Heal:
    world.proxies[name].latency = random.uniform(0.02, 0.2)
    return world.proxies[name].heal


def reset(world: World, random: Random, name: str) -> None:
    world.proxies[name].reset()


def refuse(world: World, random: Random, name: str) -> Heal:
    """Every connection is reset, and so is every new one."""
    world.proxies[name].refusing = True
    world.proxies[name].reset()
    return world.proxies[name].heal


def drop_reply(world: World, random: Random, name: str, command: str) -> Heal:
    """The command is done, and its sender gets no reply: by a reset, or by silence until it times out."""
    count, silently = random.randint(1, 4), random.random() < 0.4
    world.proxies[name].drop_reply(command, count=count, silently=silently)
    return world.proxies[name].heal


def full_disk(world: World, random: Random) -> Heal:
    if not world.disk.mounted:
        raise Skipped("no file system may be mounted here (not root), so the disk cannot be full")
    world.disk.fill()
    return world.disk.free


def _go_on(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _nothing() -> None:
    """The fault is over when it has begun."""


def _moved_on(world: World) -> bool:
    """Something was written since the dump: what the old file does not know."""
    with world.redis() as client:
        changes: dict[str, int] = client.info("persistence")
        return changes["rdb_changes_since_last_save"] > 20


STALL = (17.0, 19.0)
"""Longer than the 15 s after which the others take a silent process for dead."""
FAULTS = (
    Fault("kill worker", kill, ("worker-1", "worker-2"), kills=True),
    Fault("wipe valkey", flush_all),
    Fault("kill postgres", kill_server, ("postgres",)),
    Fault("drop take reply", drop_reply, ("valkey", "blmove")),
    Fault("kill notifier", kill, ("notifier", "notifier-2"), kills=True),
    Fault("partition postgres", partition, ("postgres",), seconds=(1, 8)),
    Fault("freeze worker", freeze, ("worker-1", "worker-2"), seconds=STALL),
    Fault("restart valkey with all kept", restart_valkey, ("all",)),
    Fault("disk full", full_disk, seconds=(1, 4)),
    Fault("drop commit reply", drop_reply, ("postgres", "commit")),
    Fault("kill ingest", kill, ("ingest",), kills=True),
    Fault("partition valkey", partition, ("valkey",), seconds=(1, 8)),
    Fault("kill codec child", kill_codec_child, kills=True),
    Fault("receiver down", refuse, ("receiver",), seconds=(1, 4)),
    Fault("drop enqueue reply", drop_reply, ("valkey", "rpush")),
    Fault("terminate sessions", terminate_sessions),
    Fault("freeze notifier", freeze, ("notifier", "notifier-2"), seconds=STALL),
    Fault("restart valkey with nothing kept", restart_valkey, ("nothing",)),
    Fault("reset valkey", reset, ("valkey",)),
    Fault("kill status", kill, ("status",), kills=True),
    Fault("slow valkey", delay, ("valkey",)),
    Fault("drop finish reply", drop_reply, ("valkey", "evalsha")),
    Fault("partition origin", partition, ("origin",)),
    Fault("kill gateway", kill, ("gateway",), kills=True),
    Fault("kill session", kill_backend),
    Fault("reset postgres", reset, ("postgres",)),
    Fault("restart valkey with an old file", restart_valkey, ("old",)),
    Fault("slow postgres", delay, ("postgres",)),
    Fault("partition receiver", partition, ("receiver",)),
    Fault("reset origin", reset, ("origin",)),
    Fault("drop begun reply", drop_reply, ("valkey", "set")),
    Fault("freeze ingest", freeze, ("ingest",), seconds=(1, 6)),
    Fault("reset receiver", reset, ("receiver",)),
    Fault("postgres refuses", refuse, ("postgres",), seconds=(1, 6)),
    Fault("valkey refuses", refuse, ("valkey",), seconds=(1, 6)),
)


def drawn(seed: int, *, count: int) -> list[Fault]:
    """The faults of a seed: consecutive seeds go through all kinds, and each has one by chance."""
    random = Random(f"faults {seed}")
    kinds = [FAULTS[((count - 1) * seed + number) % len(FAULTS)] for number in range(count - 1)]
    return [*kinds, random.choice(FAULTS)]
