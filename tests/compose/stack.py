"""A stack in containers as a system that runs may break, with its origin and webhook receiver on this machine.

It must be this machine's engine, and its user root: the checks read the volumes and talk to the servers directly.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from tests.api import Client
from tests.chaos import audit
from tests.chaos.drained import Resources, resources
from tests.chaos.load import Shelf
from tests.chaos.receiver import MisbehavingReceiver
from tests.chaos.world import SETTINGS
from tests.compose.compose import BASE_URL, PASSWORDS, PROJECT, SERVICES, Compose
from tests.compose.containers import Container, containers
from tests.compose.engine import Failed
from tests.compose.keys import new_key
from tests.origin import Origin

MEGABYTES = 96
"""Of the blob store's volume."""
REPLACEABLE = ("gateway", *SERVICES, "postgres", "valkey")
RATES = {"HALFTONE_CALLS_PER_SECOND": "100000", "HALFTONE_UPLOADS_PER_MINUTE": "100000"}
"""Limits are the subject of other tests."""


@dataclass(slots=True)
class ComposedStack:
    compose: Compose
    origin: Origin
    shelf: Shelf
    receiver: MisbehavingReceiver
    key: str
    hooks: str
    blobs: Path
    temporary: Path
    base_url: str = BASE_URL
    base: dict[str, Resources] = field(default_factory=dict)

    def containers(self, *services: str) -> list[Container]:
        return containers(self.compose, *services)

    def database(self) -> "psycopg.Connection[Any]":
        host = self._server("postgres")
        password = PASSWORDS["POSTGRES_PASSWORD"]
        url = f"postgresql://halftone:{password}@{host}:5432/halftone"
        return psycopg.connect(url, autocommit=True, connect_timeout=5)

    def redis(self) -> "redis.Redis":
        password = PASSWORDS["HALFTONE_OPERATOR_PASSWORD"]
        return redis.Redis(self._server("valkey"), username="operator", password=password, socket_timeout=5)

    def resources(self) -> dict[str, Resources]:
        pids = {one.name: one.pid for one in self.containers(*SERVICES)}
        return {name: resources(pid) for name, pid in pids.items() if pid and psutil.pid_exists(pid)}

    def _server(self, name: str) -> str:
        (container,) = self.containers(name)
        return container.address


@contextmanager
def composed(of: Compose, *arguments: str, settings: Mapping[str, str] | None = None) -> Iterator[ComposedStack]:
    """Everything up, with `docker compose up`'s further arguments; gone at the end with its volumes.

    `of` has the engine and the files to which the stack adds its own; `settings` are added to those of tests/chaos.

    Raises:
        Failed: it does not come up.

    """
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        here = bridge(of)
        origin = ends.enter_context(Origin(bind=here, host=here))
        hooks = ends.enter_context(Origin(bind=here, host=here))
        override = folder / "override.json"
        override.write_text(json.dumps(_override({**SETTINGS, **RATES, **(settings or {})})))
        given = {"HALFTONE_FETCH_ALLOW": f"{of.env['HALFTONE_FETCH_ALLOW']},{origin.place},{hooks.place}"}
        compose = Compose(of.engine, of.pictures, override=f"{of.override}:{override}", settings=given)
        ends.enter_context(compose.up(*arguments))
        key = new_key(compose, "default")
        hooks.otherwise = receiver = MisbehavingReceiver(Client(BASE_URL, seconds=5, key=key).request)
        shelf = Shelf(origin, f"http://{origin.place}")
        blobs, spool = _volume(compose, "blobs"), _volume(compose, "spool")
        made = ComposedStack(compose, origin, shelf, receiver, key, f"http://{hooks.place}", blobs, spool)
        with made.database() as connection:
            audit.install(connection)
        yield made


def bridge(compose: Compose) -> str:
    """This machine's address in Docker's default network, which containers reach."""
    return compose.docker("network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Gateway}}").strip()


def _override(settings: Mapping[str, str]) -> Mapping[str, Any]:
    """What the runs add to the compose file, as JSON is YAML."""
    services: dict[str, dict[str, Any]] = {
        name: {"image": f"${{TEST_IMAGE_{name.upper()}:-{_image(name)}}}"} for name in REPLACEABLE
    }
    for name in SERVICES:
        services[name]["environment"] = dict(settings)
    size = f"size={MEGABYTES}m,mode=0755,uid=10001,gid=10001"
    small = {"driver": "local", "driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": size}}
    return {"services": services, "volumes": {"blobs": small}}


def _image(service: str) -> str:
    given = {"gateway": "caddy:2", "postgres": "postgres:18", "valkey": "valkey/valkey:9"}
    return given.get(service, f"{PROJECT}-{service}")


def _volume(compose: Compose, name: str) -> Path:
    shown = compose.docker("volume", "inspect", "-f", "{{.Mountpoint}}", f"{PROJECT}_{name}").strip()
    folder = Path(shown)
    if not (folder.is_dir()):
        raise Failed(f"{folder} cannot be read: the engine must be this machine's, and you root")
    return folder
