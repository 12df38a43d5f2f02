from collections.abc import Callable
from functools import partial
from threading import Barrier, BrokenBarrierError
from uuid import UUID

import psycopg
import pytest
from sqlmodel import Session

from shared.db import Database, execute, is_down, sqlstate
from tests.integration.race import together
from tests.integration.seed import add_request, group_row, request_row, sql


def touch(session: Session, request_id: UUID) -> None:
    execute(session, "UPDATE processing_request SET products = products + 1 WHERE id = %(id)s", {"id": request_id})


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


def test_a_wrong_statement_is_raised_at_once_with_its_sqlstate(database: Database) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable) as raised:
        sql(database, "SELECT 1 FROM nothing")
    assert (sqlstate(raised.value), is_down(raised.value)) == ("42P01", False)


def test_without_patience_a_server_that_is_away_is_an_error_at_once() -> None:
    database = Database("postgresql://halftone@127.0.0.1:1/halftone")
    with pytest.raises(Exception, match="connection") as raised:
        database.ping()
    assert is_down(raised.value)
    database.close()


def test_with_patience_a_connection_that_was_cut_is_no_error(database: Database) -> None:
    patient = Database(database.engine.url.render_as_string(hide_password=False), patience=20)
    request_id = add_request(database, images=1)
    runs = []

    def work(session: Session) -> None:
        pid = execute(session, "SELECT pg_backend_pid() AS pid")[0]["pid"]
        touch(session, request_id)
        runs.append(pid)
        if len(runs) == 1:
            sql(database, "SELECT pg_terminate_backend(%(pid)s)", pid=pid)

    patient.transact(work)
    patient.close()
    assert (len(runs), request_row(database, request_id)["products"]) == (2, 2)
    assert group_row(database, request_id)["images"] == 1
