"""The parts that a run needs and may break: servers, proxies before each of them, the stack, origin, receiver, disk.

The stack reaches PostgreSQL, Valkey, the origin and the receiver through proxies only; the checks go straight.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
import redis

from deploy.local.data_dir import DataDir
from deploy.migrations.roles import GRANTS
from tests.api import Client
from tests.chaos import audit
from tests.chaos.disk import SmallDisk
from tests.chaos.drained import Resources, resources
from tests.chaos.load import Shelf
from tests.chaos.proxy import Loop, Proxy
from tests.chaos.receiver import MisbehavingReceiver
from tests.chaos.spies import PostgresSpy, RedisSpy
from tests.origin import Origin
from tests.stack import Stack, keep_logs, own_folder

SERVICES = ("ingest", "worker-1", "worker-2", "notifier", "notifier-2", "status", "gateway")
SETTINGS = {
    "HALFTONE_WORKERS": "2",
    "HALFTONE_THREADS": "4",
    "HALFTONE_FIRST_FETCH_SECONDS": "2",
    "HALFTONE_FETCH_SECONDS": "8",
    "HALFTONE_MAX_SOURCE_BYTES": "3000000",
    "HALFTONE_DELIVERY_SECONDS": "4",
}
"""Shorter only where no promise of these runs is about the time."""


@dataclass(slots=True)
class World:
    """`proxies` by what they stand before: `postgres`, `valkey`, `origin`, `receiver`."""

    folder: Path
    servers: Stack
    stack: Stack
    proxies: dict[str, Proxy]
    receiver: MisbehavingReceiver
    disk: SmallDisk
    shelf: Shelf
    base: dict[str, Resources] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return self.stack.base_url

    @property
    def key(self) -> None:
        """Calls need none."""

    @property
    def blobs(self) -> Path:
        return self.disk.folder

    @property
    def hooks(self) -> str:
        return f"http://127.0.0.1:{self.proxies['receiver'].port}"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def database(self) -> "psycopg.Connection[Any]":
        """A connection that no fault touches, except the server's own end."""
        return psycopg.connect(self.servers.database_url, autocommit=True, connect_timeout=5)

    def redis(self) -> "redis.Redis":
        return redis.Redis.from_url(self.servers.redis_url, socket_timeout=5)

    def resources(self) -> dict[str, Resources]:
        """The resources of each service that runs at this moment."""
        pids = {name: self.stack.pid(name) for name in SERVICES}
        return {name: resources(pid) for name, pid in pids.items() if pid and psutil.pid_exists(pid)}


@contextmanager
def world() -> Iterator[World]:
    """Start it all; end it all. The logs stay in `.test/last-chaos`."""
    folder = own_folder()
    (folder / "tmp").mkdir()
    with ExitStack() as ends:
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        ends.callback(keep_logs, folder, "last-chaos")
        disk = ends.enter_context(SmallDisk(folder / "blobs"))
        # As in production: without it, PostgreSQL forgets commits that it has confirmed when it is killed.
        fsync = {"HALFTONE_LOCAL_FSYNC": "on"}
        servers = ends.enter_context(Stack(folder / "servers", servers_only=True, env=fsync))
        yield _started(ends, folder, disk, servers)


def _started(ends: ExitStack, folder: Path, disk: SmallDisk, servers: Stack) -> World:
    loop = ends.enter_context(Loop())
    origin = ends.enter_context(Origin())
    hooks = ends.enter_context(Origin())
    proxies = {
        "postgres": loop.proxy(urlsplit(servers.database_url).port or 0, spy=PostgresSpy),
        "valkey": loop.proxy(urlsplit(servers.redis_url).port or 0, spy=RedisSpy),
        "origin": loop.proxy(origin.port),
        "receiver": loop.proxy(hooks.port),
    }
    stack = Stack(folder / "stack", env=_env(servers, proxies, folder), module="tests.chaos.two_notifiers")
    hooks.otherwise = receiver = MisbehavingReceiver(Client(stack.base_url, seconds=5).request)
    ends.enter_context(stack)
    shelf = Shelf(origin, f"http://127.0.0.1:{proxies['origin'].port}")
    made = World(folder, servers, stack, proxies, receiver, disk, shelf)
    with made.database() as connection:
        audit.install(connection)
    return made


def _env(servers: Stack, proxies: dict[str, Proxy], folder: Path) -> dict[str, str]:
    hosts = [f"127.0.0.1:{proxies[name].port}" for name in ("origin", "receiver")]
    data = DataDir(servers.data_dir)
    return {
        **SETTINGS,
        "DATABASE_URL": _through(servers.database_url, proxies["postgres"]),
        "REDIS_URL": _through(servers.redis_url, proxies["valkey"]),
        "BLOB_URL": (folder / "blobs").as_uri(),
        "HALFTONE_FETCH_ALLOW": ",".join(hosts),
        **{f"HALFTONE_{name.upper()}_PASSWORD": data.secret(f"postgres-{name}") for name in GRANTS},
        "TMPDIR": str(folder / "tmp"),
    }


def _through(url: str, proxy: Proxy) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{proxy.port}"))
