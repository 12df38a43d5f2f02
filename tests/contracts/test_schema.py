"""The migrations make exactly the tables that shared/schemas/tables.py reads."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, make_url, text
from sqlmodel import SQLModel

import shared.schemas.tables  # noqa: F401 - fills SQLModel.metadata
from deploy.migrations.versions import __file__ as versions
from shared.schema_version import SCHEMA
from shared.schemas.accounts import DEFAULT_ACCOUNT


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_the_migrated_database_is_what_the_classes_describe(connection: Connection) -> None:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    assert compare_metadata(context, SQLModel.metadata) == []


def test_a_default_is_the_same_in_the_database_and_in_the_class(connection: Connection) -> None:
    differing = {}
    for table in SQLModel.metadata.tables.values():
        for column in inspect(connection).get_columns(table.name):
            ours = getattr(table.columns[column["name"]].default, "arg", None)
            if column["default"] is not None and ours is not None:
                theirs = connection.execute(text(f"SELECT {column['default']}")).scalar_one()
                if theirs != ours:
                    differing[f"{table.name}.{column['name']}"] = (theirs, ours)
    assert differing == {}


def test_the_default_account_has_a_secret_of_its_own(connection: Connection) -> None:
    rows = connection.execute(text("SELECT id, signing_secret FROM account")).all()
    assert [row.id for row in rows] == [DEFAULT_ACCOUNT]
    assert rows[0].signing_secret.startswith("whsec_")


def test_the_migrations_are_one_line_without_a_fork_and_the_code_knows_the_last() -> None:
    assert versions is not None
    revisions: dict[str, str | None] = {}
    for path in sorted(Path(versions).parent.glob("[0-9]*.py")):
        names = {
            node.target.id: ast.literal_eval(node.value)
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
        }
        revisions[names["revision"]] = names["down_revision"]
    assert list(revisions.values()) == [None, *list(revisions)[:-1]]
    assert list(revisions)[-1] == SCHEMA
