"""Runs the peer on servers of its own, which are those of the local stack, with the same settings."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import IO, Any

import psycopg
from celery import Celery
from sqlalchemy import create_engine

from deploy.local.process import die_with_parent
from tests.bench.limit import CORES
from tests.bench.peer.tables import Base
from tests.stack import ROOT, Stack, until

LONGEST = 120.0
TASK = "peer.compress"
PROCESSES = 2 * CORES
"""So that the cores have something to do while a task waits for its fetch and its commit."""
_batches = itertools.count(1)
PENDING = "SELECT count(*) FROM peer_item WHERE batch = %s AND state <> 'completed'"


class Peer:
    """`send` enqueues a task with the id and the URL of a row."""

    def __init__(
        self, connection: psycopg.Connection[tuple[Any, ...]], send: Callable[[tuple[int, str]], object], pid: int
    ) -> None:
        self._connection = connection
        self._send = send
        self.pid = pid

    def run(self, urls: Sequence[str]) -> float:
        """Images a second, from the time that all rows are stored, as after Halftone's 202, until all are completed."""
        batch = f"batch-{next(_batches)}"
        with self._connection.cursor() as cursor:
            insert = (
                "INSERT INTO peer_item (batch, url, state) SELECT %s, unnest(%s::text[]), 'pending' RETURNING id, url"
            )
            rows = cursor.execute(insert, [batch, list(urls)]).fetchall()
        begun = time.monotonic()
        for row in rows:
            self._send(row)
        while pending := self._pending(batch):
            passed = time.monotonic() - begun
            assert passed < LONGEST, f"the peer left {pending} images"
            done = len(rows) - pending
            time.sleep(min(0.5, max(0.02, passed * pending / done / 2 if done else 0.02)))
        return len(rows) / (time.monotonic() - begun)

    def _pending(self, batch: str) -> int:
        found = self._connection.execute(PENDING, [batch]).fetchone()
        assert found is not None
        return int(found[0])


@contextmanager
def peer_running(folder: Path) -> Iterator[Peer]:
    """PostgreSQL, Valkey and a Celery worker; its folder can be entered by PostgreSQL's user."""
    folder.mkdir()
    folder.chmod(0o755)
    with Stack(folder / "peer", servers_only=True, env={"HALFTONE_LOCAL_FSYNC": "on"}) as servers:
        output = folder / "peer-output"
        output.mkdir()
        database = servers.database_url.replace("postgresql://", "postgresql+psycopg://")
        env = {"PEER_OUTPUT": str(output), "PEER_BROKER": servers.redis_url, "PEER_DATABASE": database}
        Base.metadata.create_all(engine := create_engine(database))
        engine.dispose()
        app = Celery("peer", broker=servers.redis_url)
        with (
            (folder / "peer-celery.log").open("wb") as log,
            psycopg.connect(servers.database_url, autocommit=True) as connection,
        ):
            worker = _worker(env, log)
            try:
                until(lambda: app.control.ping(timeout=0.5), within=60, every=0.2)
                with app.connection_for_write() as broker, app.amqp.Producer(broker) as producer:
                    yield Peer(connection, lambda row: app.send_task(TASK, row, producer=producer), worker.pid)
            finally:
                worker.terminate()
                worker.wait(30)
                app.close()


def _worker(env: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "celery", "-A", "tests.bench.peer.tasks", "worker", "--pool", "prefork"]
    command += ["--concurrency", str(PROCESSES), "--loglevel", "warning", "--without-gossip", "--without-mingle"]
    command += ["--without-heartbeat", "-O", "fair"]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=log,
        stderr=subprocess.STDOUT,
        preexec_fn=die_with_parent(SIGTERM),  # noqa: PLW1509 - nothing but one system call
    )
