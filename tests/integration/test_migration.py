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
    pipe = subprocess.PIPE
    command = [*ALEMBIC, "head"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
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


@pytest.fixture
def vacuumed(older: str) -> Iterator[str]:
    """Autovacuum works on the images of this database, for minutes."""
    with psycopg.connect(older, autocommit=True) as connection:
        request_id = image(connection)
        connection.execute(
            "INSERT INTO image (request_id, number, url) SELECT %s, n, 'x' FROM generate_series(2, 20000) n",
            [request_id],
        )
        connection.execute(
            "ALTER TABLE image SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,"
            " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
        )
        connection.execute("DELETE FROM image WHERE number > 100")
        connection.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
        connection.execute("SELECT pg_reload_conf()")
        working = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'autovacuum: VACUUM%public.image%'"
        try:
            until(lambda: connection.execute(working).fetchone(), within=60)
            yield older
        finally:
            connection.execute("ALTER SYSTEM RESET autovacuum_naptime")
            connection.execute("SELECT pg_reload_conf()")


def test_autovacuum_gives_way_to_a_migration(vacuumed: str) -> None:
    with migrating(vacuumed) as migration:
        told, wrong = migration.communicate(timeout=60)
    assert (migration.returncode, wrong) == (0, "")
    assert "is in use" not in told


def test_an_older_version_leaves_the_tables_and_the_grants_of_a_newer_one_alone(database_url: str) -> None:
    """Who goes back to the images before starts their migrations too, and the services wait for them."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("GRANT EXECUTE ON FUNCTION count_kept_bytes() TO PUBLIC")  # our migrations revoke it
        with migrating(database_url) as migration:
            told, wrong = migration.communicate(timeout=60)

        assert (migration.returncode, wrong) == (0, "")
        assert "made by a newer version" in told
        granted = "SELECT has_function_privilege('public', 'count_kept_bytes()', 'EXECUTE'), version_num"
        assert connection.execute(f"{granted} FROM alembic_version").fetchone() == (True, "9999")


def test_a_version_that_is_none_is_an_error(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'later'")
    with migrating(database_url) as migration:
        told, wrong = migration.communicate(timeout=60)
    assert migration.returncode != 0
    assert "later" in told + wrong


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
