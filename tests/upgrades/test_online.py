"""What a migration of a large table does where it is interrupted, or meets those who work."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import NullPool, create_engine, make_url

from deploy.migrations.online import backfill, create_index
from tests.stack import until


@pytest.fixture
def connection(database_url: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """With a table of numbers."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE numbers (number integer PRIMARY KEY, square integer)")
        connection.execute("INSERT INTO numbers SELECT n FROM generate_series(1, 50000) n")
        yield connection


@contextmanager
def migrating(database_url: str) -> Iterator[None]:
    """As alembic runs a migration."""
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"transaction_per_migration": True})
        with Operations.context(context), context.begin_transaction(_per_migration=True):
            yield


def unfinished(connection: "psycopg.Connection[tuple[object, ...]]", table: str) -> object:
    counting = psycopg.sql.SQL("SELECT count(*) FROM {} WHERE square IS DISTINCT FROM number % 100 * (number % 100)")
    return connection.execute(counting.format(psycopg.sql.Identifier(table))).fetchall()[0][0]


def square(database_url: str, table: str = "numbers") -> None:
    with migrating(database_url):
        backfill(table, "square = number % 100 * (number % 100)", missing="square IS NULL")


def test_a_backfill_passes_rows_that_others_hold_and_comes_back(
    database_url: str, connection: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    with psycopg.connect(database_url) as service:
        service.execute("UPDATE numbers SET number = number WHERE number <= 10")
        thread = threading.Thread(target=square, args=[database_url])
        thread.start()
        until(lambda: unfinished(connection, "numbers") == 10, within=30)
        service.commit()
        thread.join(30)
    assert not thread.is_alive()
    assert unfinished(connection, "numbers") == 0


def test_a_backfill_reaches_every_partition(
    database_url: str, connection: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    connection.execute("CREATE TABLE parts (number integer, square integer) PARTITION BY RANGE (number)")
    connection.execute("CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (1000)")
    connection.execute("CREATE TABLE high PARTITION OF parts FOR VALUES FROM (1000) TO (9000)")
    connection.execute("INSERT INTO parts SELECT n FROM generate_series(1, 5000) n")
    square(database_url, "parts")
    assert unfinished(connection, "parts") == 0


def test_an_index_that_was_interrupted_is_made_anew_and_one_that_is_there_is_left(
    database_url: str, connection: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    connection.execute("INSERT INTO numbers VALUES (0, 7), (-1, 7)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY squares ON numbers (square)")
    connection.execute("DELETE FROM numbers WHERE number < 0")
    found = "SELECT indexrelid, indisvalid FROM pg_index WHERE indexrelid = 'squares'::regclass"
    ((invalid, valid),) = connection.execute(found).fetchall()
    assert valid is False
    made = []
    for _ in range(2):
        with migrating(database_url):
            create_index("squares", "numbers (square)", unique=True)
        made += connection.execute(found).fetchall()
    assert made[0] == made[1]
    assert (made[0][0] != invalid, made[0][1]) == (True, True)
