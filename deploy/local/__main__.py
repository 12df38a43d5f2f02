"""`python -m deploy.local run|start|stop|status|secret|keys`: the stack without containers."""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from deploy.local import preflight
from deploy.local.data_dir import DataDir
from deploy.local.logins import FILES_TAKEN
from deploy.local.settings import ROOT, LocalSettings
from deploy.local.stack import Stack
from shared.settings import from_environment

START_WITHIN = 120.0
STOP_WITHIN = 20.0


def run(settings: LocalSettings, data: DataDir, *, servers_only: bool, lock: int | None = None) -> int:
    """Run in the foreground until Ctrl-C; `lock` is a lock that `start` holds for us."""
    if lock is not None:
        data.adopt(lock)
    elif not _hold(settings, data, servers_only=servers_only):
        hint = "stop it first (make stop) or set HALFTONE_DATA_DIR"
        print(f"halftone: already {_summary(data)}; {hint}", file=sys.stderr)
        return 1
    return Stack(settings, data, servers_only=servers_only).run()


def start(settings: LocalSettings, data: DataDir, *, servers_only: bool) -> int:
    """Start in the background; return once it is ready. Of two starts at once, the one with the lock writes the log."""
    if not _hold(settings, data, servers_only=servers_only):
        print(f"halftone: already {_summary(data)}")
        return 0
    process = _spawn(data, servers_only=servers_only)
    print("starting:", end="", flush=True)
    try:
        ready = _wait_until_ready(process, data)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        print("\nhalftone: interrupted, and stopped again", file=sys.stderr)
        return 130
    if ready:
        print(f"\nHalftone is ready at {settings.base_url} (log: {_relative(data.log)})")
        return 0
    if process.returncode in (0, -signal.SIGTERM):
        print("\nhalftone: stopped while starting", file=sys.stderr)
        return 1
    lines = data.log.read_text(errors="replace").splitlines()
    reason = next((at for at, line in enumerate(lines) if line.startswith("halftone:")), max(0, len(lines) - 20))
    print("", *lines[reason:], f"(all of it: {_relative(data.log)})", sep="\n", file=sys.stderr)
    return 1


def _hold(settings: LocalSettings, data: DataDir, *, servers_only: bool) -> bool:
    """Whether this is the folder's stack now; ends this process with one line if a start could not succeed."""
    preflight.require_own_folder(data)
    if not servers_only:
        preflight.require_address(settings)
        preflight.warn_of_missing_redis(settings)
        preflight.tell_of_others(settings)
    data.make()
    return data.hold()


def _spawn(data: DataDir, *, servers_only: bool) -> subprocess.Popen[bytes]:
    """Start the stack as a process that inherits our lock, and release ours."""
    command = [sys.executable, "-m", "deploy.local", "run", "--lock", str(data.lock)]
    if servers_only:
        command.append("--servers-only")
    with data.begin_log().open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[data.lock],
        )
    data.name_holder(process.pid)
    data.release()
    return process


def _wait_until_ready(process: subprocess.Popen[bytes], data: DataDir) -> bool:
    shown: set[str] = set()
    deadline = time.monotonic() + START_WITHIN
    while process.poll() is None:
        state = data.read_state()
        if state.get("pid") == process.pid:
            for name in state["processes"]:
                print("" if name in shown else f" {name}", end="", flush=True)
                shown.add(name)
            if state["ready"]:
                return True
        if time.monotonic() > deadline:
            process.terminate()
            process.wait()
            raise TimeoutError(f"it was not ready within {START_WITHIN:.0f} s (log: {_relative(data.log)})")
        time.sleep(0.1)
    return False


def _relative(path: Path) -> Path:
    """The path as a person would type it in this folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def stop(data: DataDir) -> int:
    """End the stack of this data folder, if one runs."""
    pid = data.holder()
    if pid is None:
        print("halftone: not running")
        return 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_WITHIN
    while data.held_by_other():
        if time.monotonic() > deadline:
            print(f"halftone: process {pid} did not stop within {STOP_WITHIN:.0f} s", file=sys.stderr)
            return 1
        time.sleep(0.05)
    print("halftone: stopped")
    return 0


def status(data: DataDir) -> int:
    """Print a line for each process; the exit status says whether the stack is ready."""
    if not data.held_by_other():
        print("halftone: not running")
        return 1
    state = data.read_state()
    print(f"halftone: {_summary(data)}")
    for name, process in state.get("processes", {}).items():
        print(f"  {name:<10} pid {process['pid'] or '-':<8} restarts {process['restarts']}")
    return 0 if state.get("ready") else 1


def secret(settings: LocalSettings, data: DataDir, account: str) -> int:
    """Print the account's signing secret, with which a receiver verifies webhooks."""
    address = _database(settings, data)
    if address is None:
        return 1
    try:
        with psycopg.connect(address) as connection:
            row = connection.execute("SELECT signing_secret FROM account WHERE name = %s", [account]).fetchone()
    except psycopg.errors.UndefinedTable:
        print("halftone: the database has no tables yet; start the stack once (make run) to make them", file=sys.stderr)
        return 1
    if row is None:
        print(f"halftone: the database has no account `{account}`", file=sys.stderr)
        return 1
    print(row[0])
    return 0


def keys(settings: LocalSettings, data: DataDir, arguments: list[str]) -> int:
    """`python -m services.ingest.keys` with these arguments, on the database of the stack."""
    address = _database(settings, data)
    if address is None:
        return 1
    command = [sys.executable, "-m", "services.ingest.keys", *arguments]
    env = {name: value for name, value in os.environ.items() if name not in FILES_TAKEN}
    return subprocess.run(command, cwd=ROOT, env={**env, "DATABASE_URL": address}, check=False).returncode


def _database(settings: LocalSettings, data: DataDir) -> str | None:
    address = settings.database_url or (data.read_state().get("database_url") if data.held_by_other() else None)
    if address is None:
        hint = "try again once it is ready" if data.held_by_other() else "start it with make run, or set DATABASE_URL"
        print(f"halftone: {_summary(data) if data.held_by_other() else 'not running'}; {hint}", file=sys.stderr)
    return address


def _summary(data: DataDir) -> str:
    state, pid = data.read_state(), data.holder()
    if state.get("pid") == pid and state.get("ready"):
        return f"running at {state['url'] or data.folder} (pid {pid})"
    return f"starting (pid {pid})"


def main() -> int:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("command", choices=["run", "start", "stop", "status", "secret", "keys"])
    parser.add_argument("--servers-only", action="store_true", help="PostgreSQL and Valkey, migrated, nothing else")
    parser.add_argument("--lock", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--account", default="default", help="of secret: whose; `default` by default")
    given = sys.argv[1:]
    rest = given[1:] if given[:1] == ["keys"] else []  # its options are not ours
    arguments = parser.parse_args(given[:1] if rest else given)
    starts = arguments.command in ("run", "start")
    settings = preflight.read_settings() if starts else from_environment(LocalSettings)
    data = DataDir(settings.folder)
    commands = {
        "run": lambda: run(settings, data, servers_only=arguments.servers_only, lock=arguments.lock),
        "start": lambda: start(settings, data, servers_only=arguments.servers_only),
        "stop": lambda: stop(data),
        "status": lambda: status(data),
        "secret": lambda: secret(settings, data, arguments.account),
        "keys": lambda: keys(settings, data, rest),
    }
    try:
        return commands[arguments.command]()
    except (OSError, psycopg.OperationalError) as error:  # read-only, full, another user's; a database that is away
        print(f"halftone: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
