"""Leftovers once the faults are over and all is settled: messages, partial files, idle transactions, leaked resources.

Each check yields one line for each.
"""

from collections.abc import Iterator
from pathlib import Path

import psutil
import redis

from shared.broker.queues import QUEUE, TAKEN
from shared.messages import all_messages
from tests.chaos.invariants import Database, rows_of

Resources = dict[str, int]
QUEUES = sorted({message.queue for message in all_messages()})


def messages(client: "redis.Redis") -> Iterator[str]:
    """Those that wait, and those that a consumer has in hand."""
    for queue in QUEUES:
        if size := client.llen(f"{QUEUE}{queue}"):
            yield f"{queue} holds {size}"
    for key in client.scan_iter(f"{TAKEN}*"):
        yield f"{key.decode()} holds {client.llen(key)}"


def database(connection: Database) -> Iterator[str]:
    """Abandoned transactions, and groups that are still to be reconciled."""
    for row in rows_of(
        connection,
        """
        SELECT pid, state, left(query, 60) AS query FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
          AND state LIKE 'idle in transaction%%' AND state_change < now() - interval '3 s'
        """,
    ):
        yield f"session {row['pid']} is {row['state']} after {row['query']!r}"
    for row in rows_of(connection, "SELECT count(*) AS groups FROM image_group WHERE reconcile_at IS NOT NULL"):
        if row["groups"]:
            yield f"{row['groups']} groups are still to be reconciled"


def temporary(blobs: Path, folder: Path, *, kept: bool) -> Iterator[str]:
    """Files half written. `kept`: a process was killed, whose blob files go with their folder."""
    left = [] if kept else [*(blobs / ".tmp").iterdir(), *blobs.glob("*/*/.*")]
    # The socket folder of a killed process's forkserver is no file of ours.
    left += [path for path in folder.iterdir() if not path.name.startswith("pymp-")]
    for path in left:
        yield f"{path.parent.name}/{path.name} is left"


def resources(pid: int) -> Resources:
    """Counts of a process and its descendants."""
    process = psutil.Process(pid)
    with process.oneshot():
        children = process.children(recursive=True)
        return {"threads": process.num_threads(), "files": process.num_fds(), "children": len(children)}


def excess(now: Resources, base: Resources) -> Iterator[str]:
    for name, slack in SLACK.items():
        if now[name] > base[name] + slack:
            yield f"{now[name]} {name}, {base[name]} at the beginning"


SLACK = {"threads": 40, "files": 80, "children": 1}
"""Pools of threads and of connections grow with the load, up to their limit; what leaks soon grows beyond it."""
