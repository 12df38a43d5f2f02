"""Both HTTP services with API keys required, on one database, and accounts with keys."""

import string
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple
from uuid import UUID

import httpx
import pytest

from services.ingest import app as ingest
from services.ingest.settings import IngestSettings
from services.status import app as status
from services.status.settings import StatusSettings
from shared.db import Database
from shared.http.authentication import digest_of
from shared.ids import uuid7
from tests.integration.seed import sql
from tests.serving import WITHOUT_TLS, serving
from tests.stack import Stack

_random = Random()


class Key(NamedTuple):
    account: UUID
    id: str
    text: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}"}


def letters(alphabet: str, count: int) -> str:
    return "".join(_random.choices(alphabet, k=count))


def add_account(database: Database) -> UUID:
    account = uuid7()
    statement = "INSERT INTO account (id, name, signing_secret) VALUES (%(id)s, %(id)s::text, 'whsec_x')"
    sql(database, statement, id=account)
    return account


def add_key(database: Database, account: UUID, scopes: str = "read,write,admin", *, expires_in: float = 3600) -> Key:
    """A key as `services.ingest.keys` makes it."""
    key_id, secret = letters(string.ascii_lowercase, 12), letters(string.ascii_letters, 43)
    sql(
        database,
        """
        INSERT INTO api_key (id, account_id, digest, scopes, expires_at)
        VALUES (%(id)s, %(account)s, %(digest)s, %(scopes)s, now() + make_interval(secs => %(seconds)s))
        """,
        id=key_id,
        account=account,
        digest=digest_of(secret),
        scopes=scopes.split(","),
        seconds=expires_in,
    )
    return Key(account, key_id, f"ht_{key_id}_{secret}")


def revoke(database: Database, key: Key) -> None:
    sql(database, "UPDATE api_key SET revoked_at = now() WHERE id = %(id)s", id=key.id)


@pytest.fixture(scope="session")
def settings(migrated: Database, servers: Stack, tmp_path_factory: pytest.TempPathFactory) -> IngestSettings:
    return IngestSettings(
        database_url=migrated.engine.url.set(drivername="postgresql").render_as_string(hide_password=False),
        redis_url=servers.redis_url,
        blob_url=(tmp_path_factory.mktemp("keys") / "blobs").as_uri(),
        public_url="https://shop.example",
        allowed_hosts=("127.0.0.1",),
        auth="required",
    )


@pytest.fixture(scope="session")
def addresses(settings: IngestSettings) -> Iterator[dict[str, str]]:
    """Of ingest and status."""
    shared = {name: value for name, value in settings.model_dump().items() if name in StatusSettings.model_fields}
    status_settings = StatusSettings(**shared)
    with serving(ingest.create(settings)) as one, serving(status.create(status_settings)) as other:
        yield {"ingest": one, "status": other}


Call = Callable[..., httpx.Response]


@pytest.fixture
def call(database: Database, addresses: dict[str, str]) -> Iterator[Call]:
    """`call(method, path, headers=...)`, to the service that the gateway would ask."""
    del database
    with httpx.Client(timeout=10, verify=WITHOUT_TLS) as client:

        def asked(method: str, path: str, **options: object) -> httpx.Response:
            service = "status" if method in {"GET", "HEAD"} else "ingest"
            return client.request(method, f"{addresses[service]}{path}", **options)  # type: ignore[arg-type]

        yield asked
