"""Each hot step touches its own rows alone, also in the minutes after a large upload, before PostgreSQL analyses it.

Until then the planner believes what it saw last: small tables, or none of the rows that were being written. Plans of
hot statements (`Database.run`) are kept: they must be right for what the tables will hold later.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import pytest
from sqlmodel import Session

from services.notifier import close, housekeeping, metrics, sweep, wiped_broker
from services.notifier.reconcile import reconcile
from services.status import images, products, queries
from services.worker.claim import claim, defer, release, renew
from services.worker.dispatch import _again, _open_window
from services.worker.settle import due_again, settle
from shared.db import Database, connection_of, execute
from shared.ids import uuid7
from shared.lifecycle import IMAGES_PER_GROUP, ImageState, images_of
from shared.messages import DispatchGroup, DispatchRequest
from shared.schemas.accounts import DEFAULT_ACCOUNT
from tests.integration.batches import done, fetch_of, report, take
from tests.integration.seed import add_request, sql
from tests.integration.shared.touched import MOST, Touched
from tests.stack import Stack

IMAGES = 1_000_000
ROWS = IMAGES // 10
"""Products of the request, and rejected rows."""
MOST_OF_A_SMALL_ONE = 150
LONG_ENOUGH = 20  # psycopg prepares a statement at its sixth use, PostgreSQL may keep a plan from the sixth after that
T = TypeVar("T")


@pytest.fixture(scope="module")
def database(servers: Stack) -> Iterator[Database]:
    """A database of this module's own that PostgreSQL does not analyse by itself, and one connection to it."""
    with servers.database("plans") as url:
        database = Database(url, pool_size=1)
        for table in ("processing_request", "image_group", "image", "product", "rejected_row"):
            sql(database, f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        yield database
        database.close()


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
    execute(
        session,
        """
        INSERT INTO processing_request (id, account_id, products, images, open_groups, deadline_at)
        VALUES (%(id)s, %(account)s, 1, %(images)s, %(images)s / %(size)s, now() + interval '24 h')
        """,
        {"id": request_id, "account": DEFAULT_ACCOUNT, "images": IMAGES, "size": IMAGES_PER_GROUP},
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
    execute(
        session,
        """
        WITH rejected AS (
            INSERT INTO rejected_row (request_id, number, error)
            SELECT %(id)s, n, '{}' FROM generate_series(1, %(rows)s) AS n
        )
        INSERT INTO product (request_id, row, serial_number, name, images)
        SELECT %(id)s, n, n, 'Product ' || n, ARRAY[n] FROM generate_series(1, %(rows)s) AS n
        """,
        {"id": request_id, "rows": ROWS},
    )


@pytest.fixture(
    params=[
        pytest.param(None, id="analysed when it was small"),
        pytest.param(("0", "-1"), id="never analysed"),
        pytest.param(("pg_relation_size(oid) / 8192", "0"), id="analysed while the upload was not committed"),
        pytest.param((), id="analysed beside small ones"),
    ]
)
def touched(request: pytest.FixtureRequest, database: Database, huge: UUID) -> Iterator[Touched]:
    if request.param:
        _set_statistics(database, *request.param)
    elif request.param == ():
        _add_small_requests(database)
    sql(database, "UPDATE image_group SET in_flight = 0 WHERE state = 'dispatched'")
    touched = Touched(database)
    yield touched
    assert {step: buffers for step, buffers in touched.buffers.items() if buffers > touched.most} == {}


def test_every_step_of_a_batch_touches_a_few_pages_of_a_large_upload(
    database: Database, huge: UUID, touched: Touched
) -> None:
    orders = touched("dispatch a request", lambda session: _open_window(session, huge))
    batched, again, due, done_with = (done.group for done in orders)
    first, _ = images_of(batched)
    numbers = range(first, first + 16)
    batch = fetch_of(huge, numbers)
    assert len(touched.run("claim", lambda connection: claim(connection, batch, numbers))) == 16
    touched.run("renew", lambda connection: renew(connection, batch, numbers))
    touched.run("defer", lambda connection: defer(connection, batch, numbers, seconds=300))
    touched.run("release", lambda connection: release(connection, batch, numbers))
    take(database, batch, numbers)
    results = [done(number) for number in numbers]
    assert touched.run("settle", lambda connection: settle(connection, batch, results)) == 16
    assert touched("dispatch a group", lambda session: _again(session, huge, again, 1))
    reconciled = touched("reconcile", lambda session: reconcile(session, huge, due, dispatch_no=1, public_url=""))
    assert isinstance(reconciled, DispatchGroup)
    every = range(images_of(done_with)[0], images_of(done_with)[1] + 1)
    report(database, fetch_of(huge, every), [done(number) for number in every])
    settled = touched(
        "settle a group", lambda session: reconcile(session, huge, done_with, dispatch_no=1, public_url="")
    )
    assert isinstance(settled, DispatchRequest)
    _read_pages(touched, huge)


def test_every_step_of_the_sweeper_touches_a_few_pages_of_a_large_upload(
    database: Database, huge: UUID, touched: Touched, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched.most = 2000  # a step writes 50 groups, or 128 images
    sql(database, "UPDATE processing_request SET stop_reason = NULL, dispatch_at = now(), deadline_at = now()")
    assert database.transact(lambda session: _open_window(session, huge))
    sql(database, "UPDATE processing_request SET dispatch_at = now() WHERE id = %(id)s", id=huge)
    assert huge in touched("take requests", lambda session: sweep.take_requests_to_dispatch(session, 50))
    touched("give back requests", lambda session: sweep.give_back_requests(session, [huge]))
    seen = touched("epoch", wiped_broker.epoch)
    touched("begin an epoch", lambda session: wiped_broker.begin_epoch(session, seen=seen, new=uuid7()))
    assert touched("repair requests", wiped_broker.repair_batch)
    assert touched("repair groups", wiped_broker.repair_batch)
    assert huge in touched("expire requests", lambda session: sweep.expire_requests(session, 50))
    assert huge in touched("stopped requests", lambda session: sweep.stopped_requests(session, 50))
    groups = touched("take groups", lambda session: sweep.take_due_groups(session, 50))
    touched("give back groups", lambda session: sweep.give_back_groups(session, groups))
    touched("measure", metrics.measure)
    monkeypatch.setattr(close, "GROUPS_AT_ONCE", 1)
    for step in ("close groups", "close more groups"):
        before = sql(database, "SELECT open_groups FROM processing_request WHERE id = %(id)s", id=huge)[0][
            "open_groups"
        ]
        assert touched(step, lambda session: close.close(session, huge, public_url=""))
        after = sql(database, "SELECT open_groups FROM processing_request WHERE id = %(id)s", id=huge)[0]["open_groups"]
        assert after == before - 1
    monkeypatch.setattr(housekeeping, "ERASED_AT_ONCE", IMAGES_PER_GROUP)
    for step, last in (("erase the first", IMAGES_PER_GROUP), ("erase the last", IMAGES)):
        next_one = {"id": huge, "next": last - IMAGES_PER_GROUP + 1, "last": last}
        sql(
            database,
            """
            INSERT INTO erasure (request_id, next_number, last_number) VALUES (%(id)s, %(next)s, %(last)s)
            ON CONFLICT (request_id) DO UPDATE SET next_number = %(next)s, last_number = %(last)s
            """,
            **next_one,
        )
        assert touched(step, lambda session: housekeeping.erase_batch(session, huge))
    touched("erased", lambda session: housekeeping.erased(session, huge))


@pytest.mark.parametrize("status", [None, "pending"])
def test_a_page_of_requests_reads_the_groups_of_no_others(database: Database, status: str | None) -> None:
    sql(
        database,
        """
        INSERT INTO processing_request (id, account_id, products, images, deadline_at, created_at)
        SELECT gen_random_uuid(), %(account)s, 1, 1, now(), now() + make_interval(secs => n)
        FROM generate_series(1, 5000) AS n
        """,
        account=DEFAULT_ACCOUNT,
    )
    _set_statistics(database, "0", "-1")
    touched = Touched(database)

    touched("list", partial(queries.list_requests, account=DEFAULT_ACCOUNT, status=status, before=None, limit=21))

    assert touched.buffers["list"] <= MOST


@pytest.mark.parametrize(("pages", "rows"), [("0", "-1"), ("pg_relation_size(oid) / 8192", "0")])
def test_a_small_request_beside_many_open_ones_touches_its_own_rows(database: Database, pages: str, rows: str) -> None:
    sql(database, "TRUNCATE processing_request CASCADE")
    sql(
        database,
        """
        WITH requests AS (
            INSERT INTO processing_request (id, account_id, products, images, open_groups, deadline_at)
            SELECT gen_random_uuid(), %(account)s, 1, 1, 1, now() FROM generate_series(1, 25000) RETURNING id
        ), groups AS (
            INSERT INTO image_group (request_id, number, state, dispatch_no, reconcile_at, images)
            SELECT id, 1, 'dispatched', 1, now(), 1 FROM requests
        )
        INSERT INTO image (request_id, number, url) SELECT id, 1, 'https://images.example/' FROM requests
        """,
        account=DEFAULT_ACCOUNT,
    )
    request_id = add_request(database, images=8)
    _set_statistics(database, pages, rows)
    touched, numbers = Touched(database), range(1, 9)
    batch, results = fetch_of(request_id, numbers), [done(number) for number in numbers]

    assert touched("dispatch a request", lambda session: _open_window(session, request_id))
    assert len(touched.run("claim", lambda connection: claim(connection, batch, numbers))) == 8
    assert touched.run("settle", lambda connection: settle(connection, batch, results)) == 8
    touched("settle a group", lambda session: reconcile(session, request_id, 1, dispatch_no=1, public_url=""))

    assert {step: buffers for step, buffers in touched.buffers.items() if buffers > MOST_OF_A_SMALL_ONE} == {}


def _read_pages(touched: Touched, huge: UUID) -> None:
    """What status reads of a request, the lists in their middle."""
    touched.few("get", lambda session: connection_of(session).execute(queries.FIND, {"ids": [huge]}).fetchall())
    lists: dict[str, Callable[..., Any]] = {
        "images": partial(images.list_images, only=images.ImageFilter(None, None)),
        **{
            f"{state} images": partial(images.list_images, only=images.ImageFilter(state, None)) for state in ImageState
        },
        "products": products.list_products,
        "rejected rows": queries.list_rejected,
    }
    for name, read in lists.items():
        touched(name, partial(read, request_id=huge, after=ROWS // 2, limit=21))


def _add_small_requests(database: Database) -> None:
    """Known to the planner: most low numbers are theirs, and it believes that the huge request has as many of them."""
    sql(
        database,
        """
        INSERT INTO image (request_id, number, url)
        SELECT request_id, n, 'https://images.example/' || n || '.jpg'
        FROM (SELECT gen_random_uuid() AS request_id FROM generate_series(1, 3000)), generate_series(1, 128) AS n
        """,
    )
    sql(database, "ANALYZE")


def _set_statistics(database: Database, pages: str, rows: str) -> None:
    """As if nothing had been found in so many pages; a new connection sees it."""
    tables = "relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')"
    sql(database, "DELETE FROM pg_statistic WHERE starelid >= 16384")
    statement: Any = f"UPDATE pg_class SET relpages = {pages}, reltuples = {rows} WHERE {tables}"
    sql(database, statement)
    database.close()  # both pools connect again
