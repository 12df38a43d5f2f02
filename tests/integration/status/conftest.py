"""A database of its own, the status service on it, and rows to read."""

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from starlette.applications import Starlette

from services.status.app import create
from services.status.settings import StatusSettings
from shared.blobs import Blobs, connect
from shared.db import Database, execute
from tests.serving import WITHOUT_TLS, serving
from tests.stack import Stack

PUBLIC_URL = "https://shop.example"


@pytest.fixture(scope="session")
def tables(servers: Stack) -> Iterator[Database]:
    """One migrated database for all these tests: they only read, so one server can serve them all."""
    with servers.database("status") as url:
        database = Database(url)
        yield database
        database.close()


@pytest.fixture
def database(tables: Database) -> Database:
    tables.transact(lambda session: execute(session, "DELETE FROM processing_request"))
    return tables


@pytest.fixture(scope="session")
def settings(tables: Database, tmp_path_factory: pytest.TempPathFactory) -> StatusSettings:
    database_url = tables.engine.url.render_as_string(hide_password=False)
    blob_url = (tmp_path_factory.mktemp("status") / "blobs").as_uri()
    return StatusSettings(
        database_url=database_url,
        blob_url=blob_url,
        public_url=PUBLIC_URL,
        allowed_hosts=("127.0.0.1", "localhost"),
        log_level="warning",
    )


@pytest.fixture(scope="session")
def blobs(settings: StatusSettings) -> Blobs:
    return connect(settings.blob_url)


@pytest.fixture(scope="session")
def app(tables: Database, settings: StatusSettings) -> Starlette:
    return create(settings)


@pytest.fixture(scope="session")
def address(app: Starlette) -> Iterator[str]:
    with serving(app) as address:
        yield address


@pytest.fixture
def client(database: Database, address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=10, verify=WITHOUT_TLS) as client:
        yield client


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The SELECTs of tables that run in this process, as they run."""
    seen: list[str] = []

    def spy_on(kind: type[psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]]) -> None:
        execute = kind.execute

        def spied(self: Any, query: str | bytes, *args: Any, **kwargs: Any) -> Any:
            text = query.decode() if isinstance(query, bytes) else query
            if " FROM " in " ".join(text.split()):
                seen.append(text)
            return execute(self, query, *args, **kwargs)

        monkeypatch.setattr(kind, "execute", spied)

    spy_on(psycopg.Cursor)
    spy_on(psycopg.AsyncCursor)
    return seen


def read_all(client: httpx.Client, path: str, **params: Any) -> list[dict[str, Any]]:
    """Every item of a list, page by page."""
    items: list[dict[str, Any]] = []
    token: str | None = ""
    while token is not None:
        body = client.get(path, params={**params, "page_token": token}).raise_for_status().json()
        items += body["items"]
        token = body["next_page_token"]
    return items
