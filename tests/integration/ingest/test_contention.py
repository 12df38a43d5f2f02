"""Changes of a request that another transaction holds: they are refused soon, and leave the connections to others."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from uuid import UUID, uuid4

import httpx
import pytest
from sqlmodel import Session

from services.ingest.changes import Changes, cancel
from shared.db import Database, execute
from shared.http.problems import Problem
from tests.integration.ingest.conftest import Sql
from tests.integration.ingest.test_accept import post_csv
from tests.integration.ingest.test_changes import CHANGES, add_delivery
from tests.integration.ingest.test_http_edges import problem

REPEATS = 20
WAITING = (
    "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def waiting(sql: Sql) -> int:
    [row] = sql(WAITING)
    return int(row["n"])


@contextmanager
def held(database: Database) -> Iterator[None]:
    """Every request and delivery is locked, as by a transaction of a worker that does not end."""
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM processing_request FOR UPDATE")
        connection.exec_driver_sql("SELECT * FROM delivery FOR UPDATE")
        yield
        connection.rollback()


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_repeats_of_a_change_that_waits_are_refused_and_others_get_their_turn(
    client: httpx.Client, address: str, database: Database, sql: Sql, method: str, path: str
) -> None:
    request_id = post_csv(client).json()["request_id"]
    target = add_delivery(sql, request_id) if "deliveries" in path else request_id

    def change(_: int) -> httpx.Response:
        return httpx.request(method, f"{address}{path.format(target)}", timeout=30)

    with ThreadPoolExecutor(REPEATS) as threads, held(database):
        answers = [threads.submit(change, number) for number in range(REPEATS)]
        most = 0
        for _ in iter(lambda: sum(answer.done() for answer in answers) >= REPEATS - 1, True):
            most = max(most, waiting(sql))
        assert most == 1, "the repeats wait for no lock"
        assert post_csv(client).status_code == 202
        refused = [answer.result() for answer in answers]
    assert {problem(answer) for answer in refused} == {(409, "conflict")}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)


def test_changes_leave_connections_for_uploads(database: Database) -> None:
    changes, begun, go_on = Changes(database, at_once=1), Event(), Event()

    def hold(_: Session) -> None:
        begun.set()
        go_on.wait(10)

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(changes.run, uuid4(), uuid4(), hold)
        begun.wait(10)
        with pytest.raises(Problem) as refused:
            changes.run(uuid4(), uuid4(), lambda _: None)
        go_on.set()
        first.result()
    assert (refused.value.status, refused.value.code) == (503, "busy")
    assert changes.run(uuid4(), uuid4(), lambda session: execute(session, "SELECT 1 AS one")) == [{"one": 1}]


def test_another_account_does_not_learn_of_a_change_under_way(
    client: httpx.Client, database: Database, sql: Sql
) -> None:
    """A 409 would tell that the request exists: the answer is the 404 of an unknown id."""
    request_id = UUID(post_csv(client).json()["request_id"])
    [owner] = sql("SELECT account_id FROM processing_request")
    changes, begun, go_on = Changes(database, at_once=5), Event(), Event()

    def hold(_: Session) -> None:
        begun.set()
        go_on.wait(60)

    def cancelled_by(account: UUID) -> tuple[int, str]:
        with pytest.raises(Problem) as refused:
            changes.run(account, request_id, lambda session: cancel(session, account, request_id))
        return refused.value.status, refused.value.code

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(changes.run, owner["account_id"], request_id, hold)
        begun.wait(60)
        answers = [cancelled_by(uuid4()), cancelled_by(owner["account_id"])]
        go_on.set()
        first.result()
    assert answers == [(404, "not_found"), (409, "conflict")]
