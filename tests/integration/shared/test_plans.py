"""What a connection learned about a small table must not be held against a large one."""

from uuid import UUID

from services.worker.settle import due_again
from shared.db import Database
from tests.integration.batches import fetch_of, report, take
from tests.integration.seed import add_request, sql

BATCH = range(1, 9)
LONG_ENOUGH = 20  # psycopg prepares a statement at its sixth use, PostgreSQL may keep a plan from the sixth after that
MANY = 20_000


def test_a_warm_connection_reads_no_whole_table_after_a_large_upload(database: Database) -> None:
    warm = Database(database.engine.url.render_as_string(hide_password=False), pool_size=1)
    small = add_request(database, images=len(BATCH))
    sql(database, "ANALYZE image")  # as PostgreSQL does by itself, a minute after the last large change
    for _ in range(LONG_ENOUGH):
        _claim_and_settle(warm, small)
    large = add_request(database, images=MANY)
    before = _read_by_scans(warm)
    _claim_and_settle(warm, large)
    read = _read_by_scans(warm) - before
    warm.close()
    assert read < MANY  # what another connection reports late is of small tables


def _claim_and_settle(database: Database, request_id: UUID) -> None:
    batch = fetch_of(request_id, BATCH)
    assert len(take(database, batch, BATCH)) == len(BATCH)
    results = [due_again(number, delay=0, refund=True) for number in BATCH]
    assert report(database, batch, results) == len(BATCH)


def _read_by_scans(database: Database) -> int:
    """Rows of `image` that scans of the whole table have read; `database` has one connection, which says its own."""
    sql(database, "SELECT pg_stat_force_next_flush()")
    row = sql(database, "SELECT seq_tup_read::int AS read FROM pg_stat_user_tables WHERE relname = 'image'")[0]
    return int(row["read"])
