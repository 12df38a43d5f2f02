"""The supervisor of the local stack, tried on its two servers: what dies comes back, what ends leaves nothing."""

import os
import signal
import socket
from pathlib import Path

import psutil
import psycopg

from tests.integration.local.command import local
from tests.stack import Stack, until


def test_a_killed_server_comes_back_with_its_data(stack: Stack) -> None:
    with psycopg.connect(stack.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        connection.commit()
        connection.execute("CHECKPOINT")  # this cluster does without fsync
    stack.restart("postgres", signal.SIGKILL)
    stack.restart("valkey", signal.SIGKILL)
    assert until(lambda: _answer(stack.database_url), within=20) == 42
    assert stack.state()["processes"]["postgres"]["restarts"] == 1


def test_a_killed_supervisor_leaves_no_orphan_and_can_be_started_again(stack: Stack) -> None:
    pids = [pid for name in stack.names() for pid in stack.pids(name)]
    os.kill(stack.state()["pid"], signal.SIGKILL)
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids), within=15)
    stack.start()
    assert len(stack.names()) == 2


def test_a_second_start_says_that_it_runs(stack: Stack) -> None:
    again = local(stack, "start")
    assert again.returncode == 0
    assert "already running" in again.stdout
    second = local(stack, "run")
    assert second.returncode == 1
    assert "already running" in second.stderr


def test_start_and_stop_work_in_the_background(folder: Path) -> None:
    stack = Stack(folder, servers_only=True)
    assert local(stack, "stop").stdout == "halftone: not running\n"
    started = local(stack, "start", "--servers-only")
    assert started.returncode == 0, started.stderr
    pids = [pid for name in stack.names() for pid in stack.pids(name)]
    assert local(stack, "status").returncode == 0
    assert local(stack, "stop").returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not (folder / "stack.json").exists()


def test_passwords_are_readable_by_their_owner_alone(stack: Stack) -> None:
    for name in ("postgres.secret", "valkey.secret", "valkey.conf", "stack.json"):
        assert (stack.data_dir / name).stat().st_mode & 0o077 == 0


def test_a_taken_port_is_one_line_that_names_the_port_and_the_setting(folder: Path) -> None:
    stack = Stack(folder)
    with socket.create_server(("127.0.0.1", stack.port)):
        refused = local(stack, "run")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert str(stack.port) in refused.stderr
    assert "HALFTONE_PORT" in refused.stderr


def test_a_server_that_cannot_start_shows_its_last_words_and_stops_the_rest(folder: Path) -> None:
    stack = Stack(folder, servers_only=True)
    stack.start()
    stack.stop()
    (folder / "postgres" / "postgresql.auto.conf").write_text("no_such_option = 1\n")
    refused = local(stack, "run", "--servers-only")
    assert refused.returncode == 1
    assert "postgres" in refused.stderr
    assert "no_such_option" in refused.stderr


def _answer(url: str) -> int | None:
    try:
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT answer FROM kept").fetchone()
            return None if row is None else int(row[0])
    except psycopg.OperationalError:
        return None
