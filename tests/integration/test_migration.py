"""A migration of a database that is in use, by way of the command that every start runs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest

from shared.ids import uuid7
from tests.stack import ROOT, until

ALEMBIC = (sys.executable, "-m", "alembic", "-c", "deploy/migrations/alembic.ini", "upgrade")
WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE image%'"
PLACE = "xmin::text, ctid::text, pg_relation_filenode('image') FROM image WHERE request_id = %s"
"""Another one where a row or the whole table was written again."""


@pytest.fixture
def older(database_url: str) -> str:
    """A database as version 0002 left it, apart from what 0003 did not touch."""
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE image DROP COLUMN fetch_ms, DROP COLUMN settled_at")
        connection.execute("ALTER TABLE delivery_attempt DROP COLUMN webhook_timestamp, DROP COLUMN webhook_signature")
        connection.execute("UPDATE alembic_version SET version_num = '0002'")
    return database_url


@contextmanager
def migrating(database_url: str) -> Iterator["subprocess.Popen[str]"]:
    environment = os.environ | {"DATABASE_URL": database_url}
    with subprocess.Popen([*ALEMBIC, "head"], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def image(connection: psycopg.Connection) -> UUID:
    """The id of a request with one image."""
    request_id = uuid7()
    connection.execute(
        "INSERT INTO processing_request (id, account_id, products, images, deadline_at) "
        "SELECT %s, id, 1, 1, now() FROM account",
        [request_id],
    )
    connection.execute(
        "INSERT INTO image (request_id, number, url) VALUES (%s, 1, 'https://a.example/a.jpg')", [request_id]
    )
    return request_id


def test_a_migration_gives_way_to_those_who_work_and_comes_again(older: str) -> None:
    """A report or a backup may read a table for minutes: a change that waited for it would hold up all others."""
    with psycopg.connect(older) as report, psycopg.connect(older, autocommit=True) as service:
        service.execute("SET statement_timeout = '20s'")
        report.execute("SELECT count(*) FROM image")
        with migrating(older) as migration:
            until(lambda: service.execute(WAITING).fetchone(), within=30)
            served = service.execute("SELECT count(*) FROM image").fetchone()
            report.commit()
            _, told = migration.communicate(timeout=60)

        assert served == (0,)
        assert migration.returncode == 0, told
        assert service.execute("SELECT fetch_ms, settled_at FROM image").fetchall() == []


def test_rows_from_before_are_not_written_and_know_nothing_of_the_new_columns(older: str) -> None:
    with psycopg.connect(older, autocommit=True) as connection:
        request_id = image(connection)
        before = connection.execute(f"SELECT NULL, NULL, {PLACE}", [request_id]).fetchone()
        with migrating(older) as migration:
            _, told = migration.communicate(timeout=60)

        assert migration.returncode == 0, told
        assert connection.execute(f"SELECT fetch_ms, settled_at, {PLACE}", [request_id]).fetchone() == before


def test_large_tables_are_vacuumed_after_a_fiftieth_of_them_was_deleted(database_url: str) -> None:
    """By default after a fifth: of 100 million images that is twenty million dead rows, and as much space."""
    with psycopg.connect(database_url) as connection:
        options: dict[str, list[str]] = dict(
            connection.execute(
                "SELECT relname, reloptions FROM pg_class WHERE relname IN ('image', 'product', 'image_group')"
            ).fetchall()
        )
    assert len(options) == 3
    for table, given in options.items():
        assert "autovacuum_vacuum_scale_factor=0.02" in given, table


def test_a_storage_parameter_waits_for_no_reader_and_no_writer(older: str) -> None:
    with psycopg.connect(older) as connection:
        for column in ("fetch_ms integer", "settled_at timestamptz"):
            connection.execute(f"ALTER TABLE image ADD COLUMN {column}")
        for column in ("webhook_timestamp", "webhook_signature"):
            connection.execute(f"ALTER TABLE delivery_attempt ADD COLUMN {column} text")
        connection.execute("UPDATE alembic_version SET version_num = '0003'")
    with psycopg.connect(older) as worker:
        request_id = image(worker)
        worker.execute("UPDATE image SET attempts = 1 WHERE request_id = %s", [request_id])
        with migrating(older) as migration:
            _, told = migration.communicate(timeout=60)

        assert migration.returncode == 0, told
