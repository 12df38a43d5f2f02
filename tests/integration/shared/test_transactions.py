import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from threading import Barrier, BrokenBarrierError
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlmodel import Session

from shared.db import TRIES, Connection, Database, Transaction, execute, is_down, is_overloaded, sqlstate
from tests.integration.race import together
from tests.integration.seed import add_request, group_row, request_row, sql


@pytest.fixture
def patient(database: Database) -> Iterator[Database]:
    """The same database through another pool, of one connection and one more."""
    patient = Database(database.engine.url.render_as_string(hide_password=False), pool_size=1, patience=20)
    yield patient
    patient.close()


def touch(transaction: Transaction, request_id: UUID) -> None:
    execute(transaction, "UPDATE processing_request SET products = products + 1 WHERE id = %(id)s", {"id": request_id})


def test_a_deadlock_is_run_again(database: Database) -> None:
    one, two = add_request(database, images=1), add_request(database, images=1)
    both_hold_one = Barrier(2)
    runs: list[UUID] = []

    def work(session: Session, *, first: UUID, second: UUID) -> None:
        runs.append(first)
        touch(session, first)
        if len(runs) <= 2:
            both_hold_one.wait(10)
        touch(session, second)

    calls: list[Callable[[], None]] = [
        partial(database.transact, partial(work, first=one, second=two)),
        partial(database.transact, partial(work, first=two, second=one)),
    ]
    together(calls)
    assert len(runs) == 3
    assert [request_row(database, request_id)["products"] for request_id in (one, two)] == [3, 3]


def test_work_that_raises_is_undone_and_not_run_again(database: Database) -> None:
    request_id = add_request(database, images=1)
    runs = []

    def work(session: Session) -> None:
        runs.append(1)
        touch(session, request_id)
        raise BrokenBarrierError

    with pytest.raises(BrokenBarrierError):
        database.transact(work)
    assert (len(runs), request_row(database, request_id)["products"]) == (1, 1)


def test_a_hot_statement_is_a_transaction_of_its_own_and_its_plan_is_kept(patient: Database) -> None:
    request_id = add_request(patient, images=1)

    def hot(connection: Connection) -> int:
        touch(connection, request_id)
        assert connection.info.transaction_status == TransactionStatus.IDLE  # no COMMIT is left to send
        return int(request_row(patient, request_id)["products"])

    kept = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE 'UPDATE%'"
    assert [patient.run(hot) for _ in range(2)] == [2, 3]
    assert patient.run(lambda connection: execute(connection, kept)) == [{"generic_plans": 2, "custom_plans": 0}]


def test_a_hot_statement_that_fails_is_run_again_like_a_transaction(patient: Database) -> None:
    pids: list[int] = []

    def hot(connection: Connection) -> list[int]:
        pids.append(execute(connection, "SELECT pg_backend_pid() AS pid")[0]["pid"])
        if len(pids) == 1:
            execute(connection, "SELECT pg_terminate_backend(pg_backend_pid())")
        if len(pids) == 2:
            execute(connection, "DO $$ BEGIN RAISE USING ERRCODE = 'deadlock_detected'; END $$")
        return pids

    first, second, third = patient.run(hot)
    assert first != second == third


def test_a_wrong_statement_is_raised_at_once_with_its_sqlstate(database: Database) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable) as raised:
        sql(database, "SELECT 1 FROM nothing")
    assert (sqlstate(raised.value), is_down(raised.value), is_overloaded(raised.value)) == ("42P01", False, False)


@pytest.mark.parametrize(
    ("statement", "runs"),
    [
        ("SET LOCAL statement_timeout = 20; SELECT pg_sleep(5)", 1),
        ("DO $$ BEGIN RAISE USING ERRCODE = 'lock_not_available'; END $$", 1),
        ("DO $$ BEGIN RAISE USING ERRCODE = 'serialization_failure'; END $$", TRIES),
        ("DO $$ BEGIN RAISE USING ERRCODE = 'deadlock_detected'; END $$", TRIES),
    ],
)
def test_a_statement_that_others_hold_up_is_overload_and_no_outage_that_patience_waits_for(
    patient: Database, statement: LiteralString, runs: int
) -> None:
    tries = []

    def work(session: Session) -> None:
        tries.append(1)
        execute(session, statement)

    with pytest.raises(psycopg.OperationalError) as raised:
        patient.transact(work)
    assert (is_overloaded(raised.value), is_down(raised.value), len(tries)) == (True, False, runs)


def test_without_patience_a_server_that_is_away_is_an_error_at_once() -> None:
    database = Database("postgresql://halftone@127.0.0.1:1/halftone")
    with pytest.raises(Exception, match="connection") as raised:
        sql(database, "SELECT 1")
    assert is_down(raised.value)
    database.close()


def test_with_patience_a_connection_that_was_cut_is_no_error(database: Database, patient: Database) -> None:
    request_id = add_request(database, images=1)
    runs = []

    def work(session: Session) -> None:
        pid = execute(session, "SELECT pg_backend_pid() AS pid")[0]["pid"]
        touch(session, request_id)
        runs.append(pid)
        if len(runs) == 1:
            sql(database, "SELECT pg_terminate_backend(%(pid)s)", pid=pid)

    patient.transact(work)
    assert (len(runs), request_row(database, request_id)["products"]) == (2, 2)
    assert group_row(database, request_id)["images"] == 1


def test_with_patience_a_pool_without_a_free_connection_is_no_error(
    patient: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that went away in silence holds every connection before a new one is refused."""
    monkeypatch.setattr(patient.engine.pool, "_timeout", 0)
    held = [patient.engine.connect() for _ in range(2)]
    monkeypatch.setattr("shared.db.time.sleep", lambda _: held.pop().close())
    assert sql(patient, "SELECT 1 AS one") == [{"one": 1}]
    assert len(held) == 1
    held.pop().close()


def test_a_probe_takes_no_connection_from_the_work(patient: Database) -> None:
    held = [patient.engine.connect() for _ in range(2)]
    patient.ping()
    for connection in held:
        connection.close()


def test_a_silent_server_is_asked_once_for_all_who_probe() -> None:
    """With all the patience that the work has."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        database = Database(f"postgresql://halftone@127.0.0.1:{silent.getsockname()[1]}/halftone", patience=60)
        together([partial(_refused, database)] * 20)
        silent.setblocking(False)
        assert 1 <= len(list(_asked(silent))) <= 5  # on a machine that stalls for seconds
    database.close()


def _refused(database: Database) -> None:
    with pytest.raises(psycopg.OperationalError):
        database.ping()


def _asked(server: socket.socket) -> Iterator[None]:
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            yield
