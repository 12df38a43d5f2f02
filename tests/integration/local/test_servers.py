"""The supervisor of the local stack, tried on its two servers: it restarts dead processes and leaves nothing behind."""

import os
import signal
import socket
from pathlib import Path

import psutil
import psycopg

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
    again = stack.command("start")
    assert again.returncode == 0
    assert "already running" in again.stdout
    second = stack.command("run")
    assert second.returncode == 1
    assert "already running" in second.stderr


def test_start_and_stop_work_in_the_background(stopped: Stack) -> None:
    assert stopped.command("stop").stdout == "halftone: not running\n"
    without = stopped.command("keys", "create", "shop")
    assert (without.returncode, without.stdout) == (1, "")
    assert without.stderr == "halftone: not running; start it with make run, or set DATABASE_URL\n"
    started = stopped.command("start", "--servers-only")
    assert started.returncode == 0, started.stderr
    pids = [pid for name in stopped.names() for pid in stopped.pids(name)]
    assert stopped.command("status").returncode == 0
    assert stopped.command("stop").returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert stopped.state() == {}


def test_of_two_starts_at_once_one_starts_and_the_other_says_so(stopped: Stack) -> None:
    both = [stopped.begin("start", "--servers-only") for _ in range(2)]
    printed = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    (ready,) = (text for text in printed if "is ready at" in text)
    (other,) = (text for text in printed if "already" in text)
    assert other.startswith(("halftone: already starting (pid ", "halftone: already running at "))
    assert f"(pid {stopped.state()['pid']})" in other
    assert "starting:" in ready
    assert (stopped.data_dir / "stack.log").read_text().count("bringing the tables up to date") == 1


def test_a_start_that_is_stopped_meanwhile_says_so(stopped: Stack) -> None:
    starting = stopped.begin("start", "--servers-only")
    until(stopped.state, within=30)
    os.kill(int(stopped.state()["pid"]), signal.SIGTERM)  # as `stop` does, which takes longer to begin than this start
    printed = starting.communicate(timeout=60)[0]
    assert printed.splitlines()[-1] == "halftone: stopped while starting"
    assert starting.returncode == 1


def test_the_log_before_is_kept(stopped: Stack, folder: Path) -> None:
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "PG_VERSION").write_text("broken")
    (folder / "stack.log").write_text("the one before\n")
    assert stopped.command("start", "--servers-only").returncode == 1
    assert (folder / "stack.log.1").read_text() == "the one before\n"
    assert "the one before" not in (folder / "stack.log").read_text()


def test_the_second_start_finds_the_tables_current_and_runs_no_migration(stack: Stack) -> None:
    """The first one was that of the fixture `cluster`, which looks for this line too."""
    assert "bringing the tables up to date" not in stack.log()


def test_a_start_sees_to_roles_and_grants_though_the_tables_are_current(stack: Stack) -> None:
    """A release may change what a service may do and no table."""
    with psycopg.connect(stack.database_url) as connection:
        connection.execute("REVOKE ALL ON image FROM halftone_status")
        connection.execute("GRANT DELETE ON image TO halftone_worker")
        connection.execute("ALTER ROLE halftone_ingest NOLOGIN")
    stack.stop()
    stack.start()
    assert "bringing the tables up to date" not in stack.log()
    with psycopg.connect(stack.database_url) as connection:
        allowed = connection.execute(
            "SELECT has_table_privilege('halftone_status', 'image', 'SELECT'),"
            " has_table_privilege('halftone_worker', 'image', 'DELETE'),"
            " (SELECT rolcanlogin FROM pg_roles WHERE rolname = 'halftone_ingest')"
        ).fetchone()
    assert allowed == (True, False, True)


def test_tables_of_another_version_are_never_taken_for_current(stack: Stack) -> None:
    with psycopg.connect(stack.database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'later'")
    stack.stop()
    refused = stack.command("run", "--servers-only")
    assert refused.returncode == 1
    assert "the migrations failed" in refused.stderr


def test_a_new_webhook_secret_is_reported_at_the_next_start_and_not_shown(stack: Stack) -> None:
    stack.stop()
    stack.env["HALFTONE_WEBHOOK_SECRET"] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    stack.start()
    assert "| HALFTONE_WEBHOOK_SECRET is new" in stack.log()
    assert "whsec_" not in stack.log()
    assert stack.command("secret").stdout.strip() == stack.env["HALFTONE_WEBHOOK_SECRET"]


def test_passwords_are_readable_by_their_owner_alone(stack: Stack) -> None:
    for name in (
        "postgres.secret",
        "valkey-operator.secret",
        "postgres-status.secret",
        "valkey-users.acl",
        "stack.json",
    ):
        assert (stack.data_dir / name).stat().st_mode & 0o077 == 0


def test_a_taken_port_is_one_line_that_names_the_port_and_the_setting(folder: Path) -> None:
    stack = Stack(folder)
    with socket.create_server(("127.0.0.1", stack.port)):
        refused = stack.command("run")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert str(stack.port) in refused.stderr
    assert "HALFTONE_PORT" in refused.stderr


def test_a_server_that_cannot_start_shows_its_last_words_and_stops_the_rest(stack: Stack, folder: Path) -> None:
    stack.stop()
    (folder / "postgres" / "postgresql.auto.conf").write_text("no_such_option = 1\n")
    refused = stack.command("run", "--servers-only")
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
