"""The data folder of a stack: its lock, its remembered ports and passwords, and the state of its processes.

The process that holds the lock is the running stack: after a kill -9 a pid in a file proves nothing, a lock does.
"""

import errno
import fcntl
import json
import os
import random
import secrets
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Below the range from which Linux takes ports for outgoing connections, so that none of those collides.
INNER_PORTS = range(20_000, 32_000)
QUERY_SECONDS = 0.5  # for which `held_by_other` may hold the lock, at the very most


class DataDir:
    """Paths and small files below one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres = folder / "postgres"
        self.blobs = folder / "blobs"
        self.state = folder / "stack.json"
        self.log = folder / "stack.log"
        self.previous_log = folder / "stack.log.1"
        self._lock: int | None = None

    def make(self) -> None:
        """Make the folder; PostgreSQL's user must be able to pass through it."""
        for path in (self.folder, self.blobs):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o755)

    def hold(self) -> bool:
        """Become the running stack of this folder until this process ends; False if another stack is.

        Waits a moment, because `held_by_other` of another process takes the lock to test it.
        """
        deadline = time.monotonic() + QUERY_SECONDS
        while not self._take_lock():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        self.name_holder(os.getpid())
        return True

    @property
    def lock(self) -> int:
        """The file descriptor of the held lock: a child that inherits it holds the lock too."""
        assert self._lock is not None
        return self._lock

    def adopt(self, lock: int) -> None:
        """Hold the lock that the parent took for us; our own children must not inherit it."""
        os.set_inheritable(lock, False)
        self._lock = lock

    def name_holder(self, pid: int) -> None:
        """Record the process that holds the lock; valid while the lock is held."""
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, str(pid).encode(), 0)

    def holder(self) -> int | None:
        """The pid of the running stack, if there is one."""
        if not self.held_by_other():
            return None
        return int((self.folder / "lock").read_text() or 0) or None

    def _take_lock(self) -> bool:
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def release(self) -> None:
        """Release the lock, so that another stack may use the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def held_by_other(self) -> bool:
        """Whether a stack is running here."""
        if not (self.folder / "lock").exists():
            return False
        if self._take_lock():
            self.release()
            return False
        return True

    def begin_log(self) -> Path:
        """Begin an empty log and keep the previous one; the caller holds the lock."""
        if self.log.exists():
            self.log.replace(self.previous_log)
        return self.log

    def read_state(self) -> dict[str, Any]:
        """The state that the running stack recorded; empty if there is none."""
        try:
            return dict(json.loads(self.state.read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    def write_state(self, state: dict[str, Any]) -> None:
        """Record the state; readers never see half a file."""
        write_private(self.state, json.dumps(state, indent=1))

    def secret(self, name: str) -> str:
        """A random password, created at first use and kept."""
        path = self.folder / f"{name}.secret"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text().strip()

    def ports(self, names: Iterable[str]) -> dict[str, int]:
        """A free loopback port for each name: the remembered one, unless it is taken now."""
        path = self.folder / "ports.json"
        known: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        for name in names:
            while not is_free("127.0.0.1", known.get(name, 0)):
                candidate = random.choice(INNER_PORTS)  # noqa: S311 - no secret
                known[name] = 0 if candidate in known.values() else candidate
        write_private(path, json.dumps(known, indent=1))
        return known


def write_private(path: Path, text: str) -> None:
    """Write a file atomically that only its owner may read."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def is_free(host: str, port: int) -> bool:
    """Whether the port can be listened on; port 0 stands for "not chosen yet" and is not free.

    Raises:
        OSError: the address cannot be listened on at all.

    """
    if port == 0:
        return False
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True
