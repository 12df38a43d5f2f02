"""From the previous release's tables to the newest ones with a million images, while services write to them."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psycopg
import pytest

from shared.ids import uuid7
from tests.stack import ROOT, Stack

IMAGES = 1_000_000
BATCH, GROUP = 16, 128
REQUEST = uuid7()
ROWS = f"""
INSERT INTO processing_request (id, account_id, products, images, deadline_at)
    SELECT '{REQUEST}', id, {IMAGES}, {IMAGES}, now() + interval '1 day' FROM account;
INSERT INTO image_group (request_id, number, images)
    SELECT '{REQUEST}', n, {GROUP} FROM generate_series(1, {IMAGES // GROUP}) n;
INSERT INTO image (request_id, number, url)
    SELECT '{REQUEST}', n, 'https://shop-' || n % 100 || '.example/' || n FROM generate_series(1, {IMAGES}) n;
INSERT INTO product (request_id, row, serial_number, name, images)
    SELECT '{REQUEST}', n, n, 'Product ' || n, ARRAY[n] FROM generate_series(1, {IMAGES}) n;
ANALYZE;
"""
CONFIG = """
[alembic]
script_location = {root}/deploy/migrations
version_locations = {root}/deploy/migrations/versions
    {root}/tests/upgrades/later
path_separator = newline
"""


@dataclass
class Service:
    """Claims images as a worker does; one wait of a second for a lock is an error."""

    database_url: str
    claims: int = 0
    refused: list[psycopg.Error] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        draw = Random(1)
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute("SET lock_timeout = '1s'")
            while not self._stop.wait(0.01):
                first = draw.randrange(1, IMAGES - BATCH)
                try:
                    connection.execute(
                        "UPDATE image SET attempts = attempts + 1 WHERE request_id = %s AND number BETWEEN %s AND %s",
                        [REQUEST, first, first + BATCH],
                    )
                    connection.execute(
                        "UPDATE image_group SET in_flight = in_flight + 1 WHERE request_id = %s AND number = %s",
                        [REQUEST, first // GROUP + 1],
                    )
                    self.claims += 1
                except psycopg.Error as error:
                    self.refused.append(error)

    @contextmanager
    def working(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()


@pytest.fixture
def database_url(servers: Stack, previous: Path) -> Iterator[str]:
    """A database as the previous release has made it, with large tables."""
    server, _, _ = servers.database_url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE large")
        migrate(f"{server}/large", previous, "deploy/migrations/alembic.ini")
        with psycopg.connect(f"{server}/large", autocommit=True) as large:
            large.execute(ROWS)
        yield f"{server}/large"
        connection.execute("DROP DATABASE large WITH (FORCE)")


def migrate(database_url: str, code: Path, config: str) -> str:
    """What it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", config, "upgrade", "heads"],
        cwd=code,
        env={**os.environ, "DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_million_rows_are_migrated_and_no_service_waits_a_second(database_url: str, tmp_path: Path) -> None:
    config = tmp_path / "alembic.ini"
    config.write_text(CONFIG.format(root=ROOT))
    service = Service(database_url)
    with service.working(), ThreadPoolExecutor() as pool:  # two at once: the second waits for the first
        told = list(pool.map(migrate, [database_url] * 2, [ROOT] * 2, [str(config)] * 2))
        claimed = service.claims
    assert told == ["", ""]
    assert service.refused == []
    assert claimed > 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM image WHERE host = split_part(url, '/', 3)").fetchone() == (
            IMAGES,
        )
        assert connection.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'image_host'::regclass"
        ).fetchone()
