"""The faults: each begins in a `World` and gives back what ends it. What heals by itself ends at once.

`FAULTS` names them all; the seed chooses. A fault that this machine does not allow raises `Skipped` with the reason.
"""

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import psutil
import psycopg
import redis

from tests.chaos.world import World
from tests.stack import until

Heal = Callable[[], object]
Begin = Callable[[World, Random], Heal]


class Skipped(Exception):
    """This machine does not allow the fault; the message says why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`seconds`: how long it lasts, drawn between the two. `kills`: a process of ours ends without a last word."""

    name: str
    begin: Begin
    seconds: tuple[float, float] = (1.0, 4.0)
    kills: bool = False


def kill(*names: str) -> Begin:
    """Kill -9 one of these processes of the stack; its supervisor starts it again."""

    def begin(world: World, random: Random) -> Heal:
        world.stack.kill(random.choice(names))
        return _nothing

    return begin


def kill_codec_child(world: World, random: Random) -> Heal:
    """Kill -9 a descendant of a worker: the forkserver or a child that compresses or idles."""
    children = world.stack.pids(random.choice(("worker-1", "worker-2")))[1:]
    if children:
        os.kill(random.choice(children), signal.SIGKILL)
    return _nothing


def freeze(*names: str) -> Begin:
    """SIGSTOP, and at the end SIGCONT: to everyone else it was dead, and then it goes on where it was."""

    def begin(world: World, random: Random) -> Heal:
        pid = world.stack.kill(random.choice(names), signal.SIGSTOP)
        return lambda: _go_on(pid)

    return begin


def kill_server(name: str) -> Begin:
    def begin(world: World, random: Random) -> Heal:
        world.servers.restart(name, signal.SIGKILL)
        return _nothing

    return begin


def kill_backend(world: World, random: Random) -> Heal:
    """Kill -9 one session's process: PostgreSQL ends all sessions and recovers."""
    backends = [
        child for child in psutil.Process(world.servers.pid("postgres")).children() if "halftone" in _title(child)
    ]
    if backends:
        random.choice(backends).kill()
    return _nothing


def terminate_sessions(world: World, random: Random) -> Heal:
    with world.database() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    return _nothing


def flush_all(world: World, random: Random) -> Heal:
    with world.redis() as client:
        client.flushall()
    return _nothing


def restart_valkey(keeps: str) -> Begin:
    """Kill -9 and start again: with all it had (`all`), with what it had a moment before (`old`), or with nothing."""

    def begin(world: World, random: Random) -> Heal:
        dump = world.servers.data_dir / "dump.rdb"
        dump.unlink(missing_ok=True)
        if keeps in ("all", "old"):
            with world.redis() as client:
                client.save()
        if keeps == "old":
            until(lambda: _moved_on(world), within=5)
        world.servers.restart("valkey", signal.SIGKILL)
        until(lambda: _answers(world), within=20)
        dump.unlink(missing_ok=True)
        return _nothing

    return begin


def partition(name: str) -> Begin:
    def begin(world: World, random: Random) -> Heal:
        proxy = world.proxies[name]
        proxy.partition()
        return proxy.heal

    return begin


def slow_line(name: str) -> Begin:
    def begin(world: World, random: Random) -> Heal:
        proxy = world.proxies[name]
        proxy.latency = random.uniform(0.02, 0.2)
        return proxy.heal

    return begin


def reset_line(name: str) -> Begin:
    def begin(world: World, random: Random) -> Heal:
        world.proxies[name].reset()
        return _nothing

    return begin


def down(name: str) -> Begin:
    """Every connection is reset, and so is every new one."""

    def begin(world: World, random: Random) -> Heal:
        proxy = world.proxies[name]
        proxy.refusing = True
        proxy.reset()
        return proxy.heal

    return begin


def drop_reply(name: str, command: str) -> Begin:
    """The command is done, its sender never hears: by a reset, or by silence until it gives up."""

    def begin(world: World, random: Random) -> Heal:
        proxy = world.proxies[name]
        proxy.drop_reply(command, count=random.randint(1, 4), silently=random.random() < 0.4)
        return proxy.heal

    return begin


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


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _answers(world: World) -> bool:
    try:
        with world.redis() as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _moved_on(world: World) -> bool:
    """Something was written since the dump: what the old file does not know."""
    with world.redis() as client:
        changes: dict[str, int] = client.info("persistence")
        return changes["rdb_changes_since_last_save"] > 20


def postgres_answers(world: World) -> bool:
    try:
        with world.database() as connection:
            return connection.execute("SELECT 1").fetchone() is not None
    except psycopg.Error:
        return False


STALL = (17.0, 19.0)
"""Longer than the 15 s after which the others take a silent process for dead."""
FAULTS = (
    Fault("kill worker", kill("worker-1", "worker-2"), kills=True),
    Fault("wipe valkey", flush_all),
    Fault("kill postgres", kill_server("postgres")),
    Fault("drop fetch reply", drop_reply("valkey", "fetch")),
    Fault("kill notifier", kill("notifier", "notifier-2"), kills=True),
    Fault("partition postgres", partition("postgres"), (1, 8)),
    Fault("freeze worker", freeze("worker-1", "worker-2"), STALL),
    Fault("restart valkey, all kept", restart_valkey("all")),
    Fault("disk full", full_disk, (1, 4)),
    Fault("drop commit reply", drop_reply("postgres", "commit")),
    Fault("kill ingest", kill("ingest"), kills=True),
    Fault("partition valkey", partition("valkey"), (1, 8)),
    Fault("kill codec child", kill_codec_child, kills=True),
    Fault("receiver down", down("receiver"), (1, 4)),
    Fault("drop enqueue reply", drop_reply("valkey", "enqueue")),
    Fault("terminate sessions", terminate_sessions),
    Fault("freeze notifier", freeze("notifier", "notifier-2"), STALL),
    Fault("restart valkey, nothing kept", restart_valkey("nothing")),
    Fault("reset valkey", reset_line("valkey")),
    Fault("kill status", kill("status"), kills=True),
    Fault("slow valkey", slow_line("valkey")),
    Fault("drop ack reply", drop_reply("valkey", "ack")),
    Fault("partition origin", partition("origin")),
    Fault("kill gateway", kill("gateway"), kills=True),
    Fault("kill session", kill_backend),
    Fault("reset postgres", reset_line("postgres")),
    Fault("restart valkey, old file", restart_valkey("old")),
    Fault("slow postgres", slow_line("postgres")),
    Fault("partition receiver", partition("receiver")),
    Fault("reset origin", reset_line("origin")),
    Fault("drop barrier reply", drop_reply("valkey", "exec")),
    Fault("freeze ingest", freeze("ingest"), (1, 6)),
    Fault("reset receiver", reset_line("receiver")),
    Fault("postgres refuses", down("postgres"), (1, 6)),
    Fault("valkey refuses", down("valkey"), (1, 6)),
)


def drawn(seed: int, *, count: int) -> list[Fault]:
    """The faults of a seed: consecutive seeds go through all kinds, and each has one by chance."""
    random = Random(f"faults {seed}")
    kinds = [FAULTS[((count - 1) * seed + number) % len(FAULTS)] for number in range(count - 1)]
    return [*kinds, random.choice(FAULTS)]
