"""A service may start once the database has the migration that its code needs."""

import psycopg
import pytest
from sqlalchemy import make_url

from shared.schema_version import SCHEMA, is_migrated


def test_the_migrated_database_has_it(database_url: str) -> None:
    assert is_migrated(database_url)


@pytest.mark.parametrize(("version", "suits"), [("0001", False), (SCHEMA, True), ("9999", True)])
def test_an_older_schema_is_waited_for_and_a_newer_one_suits(database_url: str, version: str, suits: bool) -> None:  # noqa: FBT001
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", [version])
    assert is_migrated(database_url) is suits


@pytest.mark.parametrize("statement", ["DROP TABLE alembic_version", "DELETE FROM alembic_version"])
def test_a_database_before_its_first_migration_is_waited_for(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(statement)
    assert not is_migrated(database_url)


def test_a_server_or_a_login_that_is_not_there_yet_is_waited_for(database_url: str) -> None:
    url = make_url(database_url)
    for other in (url.set(port=1), url.set(username="nobody"), url.set(database="none")):
        assert not is_migrated(other.render_as_string(hide_password=False))
