"""Each hot step touches its own rows alone, also in the minutes after a large upload, before PostgreSQL analyses it.

Until then the planner believes what it saw last: small tables, or none of the rows that were being written.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import pytest
from sqlmodel import Session

from services.notifier.reconcile import reconcile
from services.status.queries import find_request
from services.worker.claim import claim, defer, release, renew
from services.worker.dispatch import _again, _open_window
from services.worker.settle import due_again, settle
from shared.db import Database, execute
from shared.ids import uuid7
from shared.lifecycle import IMAGES_PER_GROUP, images_of
from shared.schemas.tables import DEFAULT_ACCOUNT
from tests.integration.batches import done, fetch_of, report, take
from tests.integration.seed import add_request, sql
from tests.stack import Stack

IMAGES = 1_000_000
MOST = 500
"""Buffers that a step may touch; a plan that reads all images of the request touches 26,000 here."""
LONG_ENOUGH = 20  # psycopg prepares a statement at its sixth use, PostgreSQL may keep a plan from the sixth after that
T = TypeVar("T")


@pytest.fixture(scope="module")
def database(servers: Stack) -> Iterator[Database]:
    """A database of this module's own that PostgreSQL does not analyse by itself, and one connection to it."""
    server, _, template = servers.database_url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE plans TEMPLATE {template}")
        database = Database(f"{server}/plans", pool_size=1)
        for table in ("processing_request", "image_group", "image"):
            sql(database, f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        yield database
        database.close()
        connection.execute("DROP DATABASE plans WITH (FORCE)")


@pytest.fixture(scope="module")
def huge(database: Database) -> UUID:
    """A new request of a million images; the connection has worked on a small one before, and that was analysed."""
    small = add_request(database, images=8)
    sql(database, "ANALYZE")
    for _ in range(LONG_ENOUGH):
        batch = fetch_of(small, range(1, 9))
        take(database, batch, range(1, 9))
        report(database, batch, [due_again(number, delay=0, refund=True) for number in range(1, 9)])
    request_id = uuid7()
    database.transact(lambda session: _upload(session, request_id))
    return request_id


def _upload(session: Session, request_id: UUID) -> None:
    execute(session, "SET LOCAL session_replication_role = replica")  # or a million checks of the foreign key
    execute(
        session,
        """
        INSERT INTO processing_request (id, account_id, products, images, deadline_at)
        VALUES (%(id)s, %(account)s, 1, %(images)s, now() + interval '24 h')
        """,
        {"id": request_id, "account": DEFAULT_ACCOUNT, "images": IMAGES},
    )
    execute(
        session,
        """
        WITH groups AS (
            INSERT INTO image_group (request_id, number, images)
            SELECT %(id)s, n, %(size)s FROM generate_series(1, %(images)s / %(size)s) AS n
        )
        INSERT INTO image (request_id, number, url, not_before)
        SELECT %(id)s, n, 'https://images.example/' || n || '.jpg', now() - interval '1 s'
        FROM generate_series(1, %(images)s) AS n
        """,
        {"id": request_id, "images": IMAGES, "size": IMAGES_PER_GROUP},
    )


@pytest.mark.parametrize(
    ("pages", "rows"),
    [
        pytest.param(None, None, id="analysed when it was small"),
        pytest.param("0", "-1", id="never analysed"),
        pytest.param("pg_relation_size(oid) / 8192", "0", id="analysed while the upload was not committed"),
    ],
)
def test_every_hot_step_touches_a_few_pages_of_a_large_upload(
    database: Database, huge: UUID, pages: str | None, rows: str | None
) -> None:
    if pages:
        _set_statistics(database, pages, rows or "")
    sql(database, "UPDATE image_group SET in_flight = 0 WHERE state = 'dispatched'")
    touched = _Touched(database)
    orders = touched("dispatch a request", lambda session: _open_window(session, huge))
    batched, again, due, _ = (done.group for done in orders)
    first, _ = images_of(batched)
    numbers = range(first, first + 8)
    batch = fetch_of(huge, numbers)
    assert len(touched("claim", lambda session: claim(session, batch, numbers))) == 8
    touched("renew", lambda session: renew(session, batch, numbers))
    touched("defer", lambda session: defer(session, batch, numbers, seconds=300))
    touched("release", lambda session: release(session, batch, numbers))
    take(database, batch, numbers)
    assert touched("settle", lambda session: settle(session, batch, [done(n) for n in numbers])) == 8
    assert touched("dispatch a group", lambda session: _again(session, huge, again, 1))
    reconciled = touched("reconcile", lambda session: reconcile(session, huge, due, dispatch_no=1, public_url=""))
    assert reconciled.dispatch
    touched("status", lambda session: find_request(session, DEFAULT_ACCOUNT, huge))
    assert {step: buffers for step, buffers in touched.buffers.items() if buffers > MOST} == {}


class _Touched:
    """Runs steps, and counts the buffers of our tables that each of them touches."""

    def __init__(self, database: Database) -> None:
        self.buffers: dict[str, int] = {}
        self._database = database

    def __call__(self, name: str, step: Callable[[Session], T]) -> T:
        def measured(session: Session) -> T:
            before = _buffers(session)
            result = step(session)
            self.buffers[name] = _buffers(session) - before
            return result

        return self._database.transact(measured)


def _buffers(session: Session) -> int:
    statement = """
        SELECT sum(pg_stat_get_xact_blocks_fetched(oid))::int AS buffers
        FROM pg_class WHERE relnamespace = 'public'::regnamespace
    """
    return int(execute(session, statement)[0]["buffers"])


def _set_statistics(database: Database, pages: str, rows: str) -> None:
    """As if nothing had been found in so many pages; a new connection sees it."""
    tables = "relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')"
    sql(database, "DELETE FROM pg_statistic WHERE starelid >= 16384")
    statement: Any = f"UPDATE pg_class SET relpages = {pages}, reltuples = {rows} WHERE {tables}"
    sql(database, statement)
    database.engine.dispose()
