"""What a migration did, read from PostgreSQL's catalogue before and after it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

BIG = 10_000
"""Rows: a transaction that writes more holds up those who want them for too long (deploy/migrations/online.py)."""


@dataclass(frozen=True)
class Column:
    """`filled`: a statement that does not name it leaves something there, if only null."""

    kind: str
    filled: bool


@dataclass(frozen=True)
class Schema:
    """All by name. `indexes` tells the table of each, and whether one transaction made it."""

    columns: dict[tuple[str, str], Column]
    files: dict[str, int]
    indexes: dict[str, tuple[str, bool]]
    rules: dict[tuple[str, str], str]
    parts: set[tuple[str, str]]
    written: dict[tuple[str, str], int]
    """Rows by table and transaction."""

    @property
    def tables(self) -> set[str]:
        return set(self.files)


def read(connection: "psycopg.Connection[Any]") -> Schema:
    """The schema as it is now."""

    def rows(statement: LiteralString) -> list[tuple[Any, ...]]:
        return connection.execute(statement).fetchall()

    files = {name: file for name, file in rows(_FILES) if name != "alembic_version"}
    written = {}
    for table in files:
        counting = psycopg.sql.SQL("SELECT xmin::text, count(*) FROM {} GROUP BY 1")
        found = connection.execute(counting.format(psycopg.sql.Identifier(table)))
        written.update({(table, xmin): count for xmin, count in found})
    return Schema(
        columns={(table, name): Column(kind, filled) for table, name, kind, filled in rows(_COLUMNS)},
        files=files,
        indexes={name: (table, at_once) for name, table, at_once in rows(_INDEXES)},
        rules={(table, name): rule for table, name, rule in rows(_RULES)},
        parts={(kind, name) for kind, name in rows(_PARTS)},
        written=written,
    )


def breaks_the_previous_release(before: Schema, after: Schema) -> Iterator[str]:
    """Why code that knows only the schema `before` would fail."""
    gone = before.tables - after.tables
    yield from (f"table {table} is gone (dropped or renamed)" for table in gone)
    for (table, name), column in before.columns.items():
        now = after.columns.get((table, name))
        if now is None and table not in gone:
            yield f"column {table}.{name} is gone (dropped or renamed)"
        elif now is not None and now.kind != column.kind:
            yield f"column {table}.{name} was {column.kind} and is {now.kind}"
        elif now is not None and column.filled and not now.filled:
            yield f"column {table}.{name} must be given now (NOT NULL without a default)"
    for (table, name), column in after.columns.items():
        if table in before.tables and (table, name) not in before.columns and not column.filled:
            yield f"new column {table}.{name} must be given (NOT NULL without a default)"
    for (table, name), rule in after.rules.items():
        if table in before.tables and before.rules.get((table, name)) != rule:
            yield f"constraint {name} of {table} is new, and older code does not know it: {rule}"
    yield from (f"{kind} {name} is gone" for kind, name in before.parts - after.parts)


def holds_up_the_services(before: Schema, after: Schema) -> Iterator[str]:
    """Why a large table would be locked for longer than a moment."""
    for table, file in after.files.items():
        if before.files.get(table, file) != file:
            yield f"table {table} was written anew as a whole, locked (a change of a type, a volatile default)"
    for name, (table, at_once) in after.indexes.items():
        if at_once and table in before.tables and name not in before.indexes:
            yield f"index {name} locked {table} while it was made: use create_index of online.py"
    for (table, xmin), count in after.written.items():
        if count > BIG and table in before.tables and (table, xmin) not in before.written:
            yield f"{count} rows of {table} were written in one transaction: use backfill of online.py"


_OURS: LiteralString = "relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
_FILES: LiteralString = f"SELECT relname, pg_relation_filenode(oid) FROM pg_class WHERE {_OURS}"
_COLUMNS: LiteralString = f"""
SELECT relname, attname, format_type(atttypid, atttypmod), NOT attnotnull OR atthasdef OR attidentity <> ''
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE {_OURS} AND attnum > 0 AND NOT attisdropped
"""
# One that is made concurrently is marked as valid by a later transaction than the one that made it.
_INDEXES: LiteralString = f"""
SELECT i.relname, c.relname, x.xmin = i.xmin FROM pg_index x JOIN pg_class i ON i.oid = indexrelid
JOIN pg_class c ON c.oid = indrelid WHERE c.{_OURS.replace("AND relkind", "AND c.relkind")}
"""
_RULES: LiteralString = f"""
SELECT relname, conname, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid
WHERE {_OURS} AND contype <> 'n'
"""
_PARTS: LiteralString = """
SELECT 'function', proname || '(' || pg_get_function_arguments(oid) || ')' FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', tgname FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'index', relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('i', 'I')
"""
