"""Counts that a busy machine cannot change: what PostgreSQL, Valkey, the brokers' receivers and the blob store did."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import ProxyHandler, build_opener

import psycopg
import redis

from tests.bench.processes import Watched
from tests.stack import Stack

SETTLES_WITHIN = 12.0
"""A PostgreSQL session reports its statistics 10 s after its last transaction at the latest."""
DATABASE = """
    SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS transactions,
           sum(n_tup_ins) AS rows_inserted, sum(n_tup_upd) AS rows_updated, sum(n_tup_hot_upd) AS hot_updates,
           pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS wal_bytes,
           pg_database_size(current_database()) AS database_bytes
    FROM pg_stat_user_tables
"""
_opener = build_opener(ProxyHandler({}))
Counts = dict[str, float]


class Counters:
    """Snapshots of everything that is counted."""

    def __init__(self, stack: Stack, watched: Watched) -> None:
        self._stack = stack
        self._watched = watched

    def read(self) -> Counts:
        """All counts so far, once the sessions have reported theirs."""
        time.sleep(SETTLES_WITHIN)
        counts = Counter[str]()
        for part in (self._database(), self._valkey(), self._messages(), self._blobs()):
            counts.update(part)
        written = self._watched.written()
        counts.update({f"disk {role}": float(size) for role, size in written.items()})
        counts["disk_bytes"] = sum(written.values())
        return {"at": time.monotonic(), **counts}

    def _database(self) -> Counts:
        with psycopg.connect(self._stack.database_url, autocommit=True) as connection:
            cursor = connection.execute(DATABASE)
            row = cursor.fetchone()
            assert row is not None
            assert cursor.description is not None
            return {column.name: float(value) for column, value in zip(cursor.description, row, strict=True)}

    def _valkey(self) -> Counts:
        """`valkey_commands` are all, also those that Lua scripts call; `valkey_reads` are the packets of commands."""
        with redis.Redis.from_url(self._stack.redis_url) as client:
            commands: Mapping[str, Any] = client.info("commandstats")
            stats: Mapping[str, Any] = client.info("stats")
        counts = {f"command {name.removeprefix('cmdstat_')}": float(one["calls"]) for name, one in commands.items()}
        return counts | {
            "valkey_commands": sum(counts.values()),
            "valkey_processed": float(stats["total_commands_processed"]),
            "valkey_reads": float(stats["total_reads_processed"]),
        }

    def _messages(self) -> Counts:
        """Messages that workers and notifiers worked on, from their own metrics."""
        counts = Counter[str]()
        for name, port in self._stack.state()["ports"].items():
            if name.partition("-")[0] in ("worker", "notifier"):
                text = _opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
                for line in text.splitlines():
                    if line.startswith("halftone_messages_total{"):
                        labels, _, value = line.rpartition(" ")
                        counts["messages"] += float(value)  # type: ignore[assignment]
                        counts[f"message {labels.split('actor=')[1].split(chr(34))[1]}"] += float(value)  # type: ignore[assignment]
        return dict(counts)

    def _blobs(self) -> Counts:
        folder = Path(unquote(urlsplit(self._stack.state()["blob_url"]).path))
        counts = Counter[str]()
        for path in folder.rglob("*"):
            with suppress(OSError):
                if path.is_file():
                    counts["blob_files"] += 1
                    counts["blob_bytes"] += path.stat().st_size
        return dict(counts)


def per_image(counters: Counters, images: int, work: Callable[[], object]) -> tuple[dict[str, float], dict[str, float]]:
    """Counts of `work` for each image, less what an idle stack counts in the same time; and the latter per second."""
    before = counters.read()
    work()
    after = counters.read()
    idle = counters.read()
    background = {name: (idle[name] - after.get(name, 0)) / (idle["at"] - after["at"]) for name in idle if name != "at"}
    seconds = after["at"] - before["at"]
    counts = {
        name: (after[name] - before.get(name, 0) - background.get(name, 0) * seconds) / images
        for name in after
        if name != "at"
    }
    return counts, background
