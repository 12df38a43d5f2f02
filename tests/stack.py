"""A private stack for tests: its own ports and data below `.test/`, gone when the session ends.

It is a child that dies with pytest, so even a killed session leaves nothing running.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil
import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.local.data_dir import is_free
from deploy.local.process import die_with_parent

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".test"
TEST_PORTS = range(12_000, 20_000)  # apart from those for outgoing connections and the stack's inner ones
LOCAL = (sys.executable, "-m", "deploy.local")
READY_WITHIN = 60.0
STOP_WITHIN = 20.0
_reserved = set[int]()


def until(check: Callable[[], T | None], *, within: float = 10.0, every: float = 0.05) -> T:
    """Poll until `check` returns something true; fail if it does not within so many seconds."""
    deadline = time.monotonic() + within
    while True:
        if found := check():
            return found
        assert time.monotonic() < deadline, f"not within {within:g} s: {check}"
        time.sleep(every)


def reserve_ports(count: int) -> list[int]:
    """Free loopback ports that nobody was given before, also no other process of this session: some are used late."""
    share, number = (int(os.environ.get(f"PYTEST_XDIST_WORKER{name}", "0").lstrip("gw")) for name in ("_COUNT", ""))
    ours = [port for port in TEST_PORTS[number :: share or 1] if port not in _reserved]
    ports = [port for port in random.sample(ours, 20 * count) if is_free("127.0.0.1", port)][:count]
    _reserved.update(ports)
    return ports


def own_folder() -> Path:
    """Make `.test/PID`, which PostgreSQL's user may enter, and remove those of processes that have ended."""
    own = FOLDER / str(os.getpid())
    for old in FOLDER.glob("[0-9]*"):
        if old.name.isdigit() and (old == own or not psutil.pid_exists(int(old.name))):
            shutil.rmtree(old, ignore_errors=True)
    own.mkdir(parents=True)
    for path in (FOLDER, own):
        path.chmod(0o755)
    return own


def keep_logs(folder: Path, name: str) -> None:
    """Copy the logs of a folder to `.test/NAME`, where they stay."""
    (FOLDER / name).mkdir(exist_ok=True)
    for log in folder.glob("*.log"):
        shutil.copy(log, FOLDER / name)


def pings(redis_url: str) -> bool:
    """Whether this Valkey answers."""
    try:
        with redis.Redis.from_url(redis_url, retry=Retry(NoBackoff(), 0)) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


class Stack:
    """`hosts` are `127.0.0.1:port`, free, from which images may come and to which webhooks may go.

    `like`: the folder of a stopped stack, with a copy of which the first start takes half the time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        servers_only: bool = False,
        env: Mapping[str, str] | None = None,
        module: str = "deploy.local",
        like: Path | None = None,
    ) -> None:
        self.host = "127.0.0.1"
        self.api_key: str | None = None
        self.data_dir = folder
        self._like = like
        self.log_path = folder.with_suffix(".log")
        self.port, *self.host_ports = reserve_ports(9)
        self.hosts = [f"{self.host}:{port}" for port in self.host_ports]
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.env = {
            **{name: value for name, value in os.environ.items() if not _is_setting(name)},
            "HALFTONE_DATA_DIR": str(folder),
            "HALFTONE_PORT": str(self.port),
            "HALFTONE_FETCH_ALLOW": ",".join(self.hosts),
            "HALFTONE_LOCAL_FSYNC": "off",
            **(env or {}),
        }
        self._command = [sys.executable, "-m", module, "run", *(["--servers-only"] if servers_only else [])]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until all of it is ready; start again what was killed."""
        if self._process is not None:
            self._process.wait(STOP_WITHIN)
        if self._like is not None and not self.data_dir.exists():
            subprocess.run(["cp", "-a", self._like, self.data_dir], check=True)  # the cluster's owner may be nobody
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - nothing but one system call
            )
        until(self._is_up, within=READY_WITHIN)

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the stack did not start:\n{self.log()[-4000:]}"
        state = self.state()
        return state.get("pid") == self._process.pid and bool(state["ready"])

    def stop(self) -> None:
        """Stop it and check that no process is left."""
        if self._process is None:
            return
        everyone = [self._process.pid, *(pid for name in self.state().get("processes", {}) for pid in self.pids(name))]
        self._process.terminate()
        status = self._process.wait(STOP_WITHIN)
        self._process = None
        assert status == 0, self.log()[-4000:]
        assert not [pid for pid in everyone if _runs(pid)], "a process outlived its stack"

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`python -m deploy.local` on this stack, as a person would type it."""
        return subprocess.run(
            [*LOCAL, *arguments], cwd=ROOT, env=self.env, capture_output=True, text=True, check=False, timeout=60
        )

    def key(self, account: str, *options: str) -> str:
        """A new API key of this account, as `make key` gives it."""
        made = self.command("keys", "create", account, *options)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def begin(self, *arguments: str, under: Sequence[str] = ()) -> subprocess.Popen[str]:
        """The same without waiting for it, `under` another command; all that it prints is in one stream."""
        return subprocess.Popen(
            [*under, *LOCAL, *arguments],
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def state(self) -> dict[str, Any]:
        """The recorded state of the running stack."""
        try:
            return dict(json.loads((self.data_dir / "stack.json").read_text()))
        except FileNotFoundError:
            return {}

    @property
    def database_url(self) -> str:
        return str(self.state()["database_url"])

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """A migrated, empty database for a while; its address."""
        server, _, template = self.database_url.rpartition("/")
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
            yield f"{server}/{name}"
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @property
    def redis_url(self) -> str:
        return str(self.state()["redis_url"])

    def names(self, prefix: str = "") -> list[str]:
        """The processes by name: `worker-1`, `ingest`, `postgres`, ..."""
        return [name for name in self.state()["processes"] if name.startswith(prefix)]

    def pid(self, name: str) -> int | None:
        """The process itself; None while it is being restarted."""
        pid = self.state()["processes"][name]["pid"]
        return None if pid is None else int(pid)

    def pids(self, name: str) -> list[int]:
        """The process and all its descendants."""
        pid = self.pid(name)
        if pid is None or not psutil.pid_exists(pid):
            return []
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signal a process: SIGKILL ends it, SIGSTOP and SIGCONT freeze and resume it."""
        pid = until(lambda: self.pid(name))
        os.kill(pid, number)
        return pid

    def restart(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a process with `number` and wait until the supervisor has it running again."""
        old = self.kill(name, number)
        until(lambda: self.pid(name) not in (None, old), within=30)

    def log(self) -> str:
        """Everything all processes have printed."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _is_setting(name: str) -> bool:
    return name.startswith("HALFTONE_") or name in {"DATABASE_URL", "REDIS_URL", "BLOB_URL"}
