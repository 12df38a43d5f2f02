"""One migrated database for the session, empty again for each test, with enough connections for a race."""

from collections.abc import Iterator

import pytest

from shared.db import Database
from tests.integration.roles import apply_roles
from tests.integration.seed import empty, sql
from tests.stack import Stack


@pytest.fixture(autouse=True)
def least_privilege(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the roles that migrating the template of all databases made."""
    apply_roles(monkeypatch)


@pytest.fixture(scope="session")
def migrated(servers: Stack) -> Iterator[Database]:
    with servers.database("heart") as url:
        database = Database(url, pool_size=8)
        yield database
        database.close()


@pytest.fixture
def database(migrated: Database) -> Database:
    """Emptying tables takes a tenth of the time that a database of its own takes."""
    empty(migrated)
    sql(migrated, "DELETE FROM account WHERE name <> 'default'")
    sql(migrated, "UPDATE account SET previous_secret = NULL, previous_secret_until = NULL")
    return migrated
