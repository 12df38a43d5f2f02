"""What storing rows costs at least: `COPY` into fresh tables of the same migrations, with the same keys and indexes."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import copyfileobj
from typing import IO, Any, LiteralString

import psycopg

from tests.stack import ROOT, Stack

NAME = "bench_copy"
TABLES: dict[LiteralString, LiteralString] = {
    "product": "request_id, row, serial_number, name, images",
    "image": "request_id, number, url",
    "image_group": "request_id, number, images",
}
"""The columns that an upload writes; the others have their defaults."""
BLOCK = 1 << 18
Connection = psycopg.Connection[tuple[Any, ...]]


class Rows:
    """Copies the rows of a stored request into the other database."""

    def __init__(self, live: Connection, empty: Connection) -> None:
        self._live = live
        self._empty = empty

    def copy(self, request_id: str) -> float:
        """Seconds of one transaction that writes all rows of the request from prepared files; they are then removed."""
        files = {table: self._prepared(table, request_id) for table in TABLES}
        parent = self._parent(request_id)
        self._know_account(request_id)
        begun = time.monotonic()
        with self._empty.transaction():
            self._into("processing_request", "*", parent)
            for table, file in files.items():
                self._into(table, TABLES[table], file)
        seconds = time.monotonic() - begun
        self._empty.execute("TRUNCATE processing_request CASCADE")
        for file in (*files.values(), parent):
            file.close()
        return seconds

    def _know_account(self, request_id: str) -> None:
        """The request's account, without anything that it may use."""
        found = self._live.execute("SELECT account_id FROM processing_request WHERE id = %s", [request_id]).fetchone()
        assert found is not None
        self._empty.execute(
            "INSERT INTO account (id, name, signing_secret) VALUES (%s, %s, '') ON CONFLICT DO NOTHING",
            [found[0], str(found[0])],
        )

    def _prepared(self, table: LiteralString, request_id: str) -> IO[bytes]:
        columns: LiteralString = TABLES[table]
        return self._out(
            "COPY (SELECT " + columns + " FROM " + table + " WHERE request_id = %s ORDER BY 2) TO STDOUT", request_id
        )

    def _parent(self, request_id: str) -> IO[bytes]:
        return self._out("COPY (SELECT * FROM processing_request WHERE id = %s) TO STDOUT", request_id)

    def _out(self, statement: LiteralString, request_id: str) -> IO[bytes]:
        file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        with self._live.cursor() as cursor, cursor.copy(statement, [request_id]) as copy:
            for block in copy:
                file.write(block)
        file.seek(0)
        return file

    def _into(self, table: LiteralString, columns: LiteralString, file: IO[bytes]) -> None:
        listed: LiteralString = "" if columns == "*" else "(" + columns + ") "
        statement: LiteralString = "COPY " + table + " " + listed + "FROM STDIN"
        with self._empty.cursor() as cursor, cursor.copy(statement) as copy:
            copyfileobj(file, copy, BLOCK)


@contextmanager
def copied_tables(stack: Stack) -> Iterator[Rows]:
    """A migrated, empty database on the stack's own server."""
    server = stack.database_url.rpartition("/")[0]
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {NAME}")
    address = f"{server}/{NAME}"
    migrate = [sys.executable, "-m", "alembic", "-c", "deploy/migrations/alembic.ini", "upgrade", "head"]
    subprocess.run(migrate, cwd=ROOT, env={**os.environ, "DATABASE_URL": address}, check=True, capture_output=True)
    with (
        psycopg.connect(stack.database_url, autocommit=True) as live,
        psycopg.connect(address, autocommit=True) as empty,
    ):
        yield Rows(live, empty)
