"""Expand and contract: the previous release's code runs on what a migration leaves, and no service waits for one.

A migration whose file is named `…_contract_…` may take away what the previous release no longer uses.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.migrations.versions import __file__ as versions
from tests.contracts.migrations import Schema, breaks_the_previous_release, holds_up_the_services, read
from tests.stack import ROOT, Stack

ROWS = 20_000
REQUEST = "01890000-0000-7000-8000-000000000001"
LARGE = f"""
INSERT INTO processing_request (id, account_id, products, images, deadline_at)
    SELECT '{REQUEST}', id, {ROWS}, {ROWS}, now() FROM account;
INSERT INTO image_group (request_id, number, images) SELECT '{REQUEST}', n, 128 FROM generate_series(1, {ROWS}) n;
INSERT INTO image (request_id, number, url) SELECT '{REQUEST}', n, 'x' FROM generate_series(1, {ROWS}) n;
INSERT INTO product (request_id, row, serial_number, name, images)
    SELECT '{REQUEST}', n, n, 'x', ARRAY[n] FROM generate_series(1, {ROWS}) n;
"""
MIGRATIONS = sorted(Path(str(versions)).parent.glob("[0-9]*.py"))
FINE = (
    "ALTER TABLE image ADD COLUMN later integer, ADD COLUMN more text NOT NULL DEFAULT 'x'",
    "CREATE TABLE later (id integer PRIMARY KEY, at timestamptz NOT NULL); CREATE INDEX later_at ON later (at)",
    "CREATE INDEX CONCURRENTLY image_later ON image (url)",
    "ALTER TABLE image ALTER COLUMN url DROP NOT NULL",
    "ALTER TABLE image SET (autovacuum_vacuum_scale_factor = 0.01)",
    "UPDATE image SET attempts = 1 WHERE number <= 5000",
)
BREAKING = {
    "DROP TABLE rejected_row": "table rejected_row is gone",
    "ALTER TABLE product RENAME TO goods": "table product is gone",
    "ALTER TABLE image DROP COLUMN error_detail": "column image.error_detail is gone",
    "ALTER TABLE image RENAME COLUMN url TO source": "column image.url is gone",
    "ALTER TABLE image ALTER COLUMN attempts TYPE integer": "column image.attempts was smallint and is integer",
    "ALTER TABLE image ALTER COLUMN error_code SET DEFAULT '', ALTER COLUMN attempts DROP DEFAULT": "must be given now",
    "ALTER TABLE delivery_attempt ADD COLUMN later integer NOT NULL": "new column delivery_attempt.later must be given",
    "ALTER TABLE image ADD CHECK (attempts < 9)": "constraint image_attempts_check of image is new",
    "DROP FUNCTION erase_rows": "function erase_rows",
    "DROP TRIGGER image_stays_settled ON image": "trigger image_stays_settled is gone",
    "DROP INDEX group_open": "index group_open is gone",
}
BLOCKING = {
    "ALTER TABLE image ALTER COLUMN number TYPE bigint": "table image was written anew",
    "ALTER TABLE image ADD COLUMN id uuid DEFAULT gen_random_uuid()": "table image was written anew",
    "CREATE INDEX image_later ON image (url)": "index image_later locked image",
    "UPDATE image SET attempts = 1": "20000 rows of image were written in one transaction",
}


@pytest.fixture
def connection(servers: Stack) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A database without any table."""
    server, _, _ = servers.database_url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as owner:
        owner.execute("CREATE DATABASE migrations")
        with psycopg.connect(f"{server}/migrations", autocommit=True) as connection:
            yield connection
        owner.execute("DROP DATABASE migrations WITH (FORCE)")


@pytest.fixture
def large(database_url: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(LARGE)
        yield connection


def migrate(connection: "psycopg.Connection[tuple[object, ...]]", revision: str) -> None:
    info = connection.info
    address = f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"
    command = [sys.executable, "-m", "alembic", "-c", "deploy/migrations/alembic.ini", "upgrade", revision]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "DATABASE_URL": address}, check=True)


def test_every_migration_suits_the_release_before_and_holds_up_nobody(
    connection: "psycopg.Connection[tuple[object, ...]]",
) -> None:
    first, *others = MIGRATIONS
    migrate(connection, first.name[:4])
    connection.execute(LARGE)
    found = {}
    for path in others:
        before = read(connection)
        migrate(connection, path.name[:4])
        after = read(connection)
        breaking = [] if "_contract_" in path.name else breaks_the_previous_release(before, after)
        found[path.name] = [*breaking, *holds_up_the_services(before, after)]
    assert found == {path.name: [] for path in others}


@pytest.mark.parametrize("statement", FINE)
def test_what_expands_is_fine(large: "psycopg.Connection[tuple[object, ...]]", statement: str) -> None:
    before = read(large)
    large.execute(statement.encode())
    after = read(large)
    assert [*breaks_the_previous_release(before, after), *holds_up_the_services(before, after)] == []


@pytest.mark.parametrize(
    ("judge", "statement", "reason"),
    [
        *((breaks_the_previous_release, *pair) for pair in BREAKING.items()),
        *((holds_up_the_services, *pair) for pair in BLOCKING.items()),
    ],
)
def test_what_older_code_cannot_bear_or_locks_a_large_table_is_found(
    large: "psycopg.Connection[tuple[object, ...]]",
    judge: Callable[[Schema, Schema], Iterator[str]],
    statement: str,
    reason: str,
) -> None:
    before = read(large)
    large.execute(statement.encode())
    assert any(reason in found for found in judge(before, read(large)))
