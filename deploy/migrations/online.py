"""Changes of large tables that services work on meanwhile: nobody waits for a lock for longer than a batch takes.

They commit what the migration did before them, and an interrupted migration starts again from its beginning. So all of
its statements must bear being repeated: `ADD COLUMN IF NOT EXISTS`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op
from sqlalchemy import Connection, text

BLOCKS = 64
"""Of 8 KB, in a batch: some 2,000 images, a twentieth of a second."""
PAUSE_SECONDS = 0.2
PARTITIONS = """
SELECT CAST(relid AS text) FROM pg_partition_tree(CAST(:table AS regclass)) WHERE isleaf
UNION SELECT CAST(:table AS text) WHERE NOT EXISTS (SELECT FROM pg_partition_tree(CAST(:table AS regclass)))
"""


def backfill(table: str, values: str, *, missing: str) -> None:
    """`UPDATE table SET values WHERE missing`, a batch at a time, until no such row is left.

    Rows that others have locked are taken later. The code that runs meanwhile must not make more of them: the column
    has a default, or a trigger fills it.
    """
    unfinished = text(f"SELECT EXISTS (SELECT FROM {table} WHERE {missing})")  # noqa: S608 - a migration's own words
    with _outside_of_a_transaction() as connection:
        while connection.scalar(unfinished):
            for part in connection.scalars(text(PARTITIONS), {"table": table}).all():
                _backfill_once(connection, part, values, missing)
            time.sleep(PAUSE_SECONDS)


def _backfill_once(connection: Connection, table: str, values: str, missing: str) -> None:
    """By place, which needs no index; rows that move behind the last one meanwhile are found the next time."""
    size = "SELECT pg_relation_size(CAST(:table AS regclass)) / current_setting('block_size')::integer"
    batch = text(f"""
        UPDATE {table} SET {values} WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM {table} WHERE ctid >= CAST(:first AS tid) AND ctid < CAST(:next AS tid) AND ({missing})
            FOR UPDATE SKIP LOCKED))
    """)  # noqa: S608 - a migration's own words
    for block in range(0, connection.scalar(text(size), {"table": table}) or 0, BLOCKS):
        connection.execute(batch, {"first": f"({block},0)", "next": f"({block + BLOCKS},0)"})


def create_index(name: str, definition: str, *, unique: bool = False) -> None:
    """`CREATE INDEX CONCURRENTLY name ON definition`. It waits for all transactions that run, a backup for hours.

    Nobody waits for it. One that was interrupted leaves an index that is not valid, which is made anew.
    """
    invalid = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid)"
    kind = "UNIQUE INDEX" if unique else "INDEX"
    with _outside_of_a_transaction() as connection:
        waits = connection.scalar(text("SHOW lock_timeout"))
        connection.execute(text("SET lock_timeout = 0"))
        if connection.scalar(text(invalid), {"name": name}):
            connection.execute(text(f"DROP INDEX CONCURRENTLY {name}"))
        connection.execute(text(f"CREATE {kind} CONCURRENTLY IF NOT EXISTS {name} ON {definition}"))
        connection.execute(text(f"SET lock_timeout = '{waits}'"))


@contextmanager
def _outside_of_a_transaction() -> Iterator[Connection]:
    with op.get_context().autocommit_block():
        yield op.get_bind()
