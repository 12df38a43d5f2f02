"""The ingest service on a migrated database, and the messages it sent."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import orjson
import pytest
import redis

from services.ingest.app import create
from services.ingest.settings import IngestSettings
from shared.broker.queues import QUEUE
from shared.db import Database
from tests.integration import seed
from tests.serving import WITHOUT_TLS, serving
from tests.stack import Stack

PUBLIC_URL = "https://shop.example"

Sql = Callable[..., list[dict[str, Any]]]
Sent = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def sql(database: Database) -> Sql:
    """Run one statement in its own transaction."""
    return partial(seed.sql, database)


@pytest.fixture(scope="session")
def settings(migrated: Database, servers: Stack, tmp_path_factory: pytest.TempPathFactory) -> IngestSettings:
    return IngestSettings(
        database_url=migrated.engine.url.set(drivername="postgresql").render_as_string(hide_password=False),
        redis_url=servers.redis_url,
        blob_url=(tmp_path_factory.mktemp("ingest") / "blobs").as_uri(),
        public_url=PUBLIC_URL,
        allowed_hosts=("127.0.0.1", "localhost"),
        fetch_allow=("127.0.0.1:9000",),
        max_upload_bytes=1_000_000,
        max_json_bytes=200_000,
        max_images=500,
        log_level="warning",
    )


@pytest.fixture(scope="session")
def address(settings: IngestSettings) -> Iterator[str]:
    with serving(create(settings)) as address:
        yield address


@pytest.fixture
def client(database: Database, address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=30, verify=WITHOUT_TLS) as client:
        yield client


@pytest.fixture
def sent(redis_url: str) -> Iterator[Sent]:
    """The payloads of the messages in a queue."""
    with redis.Redis.from_url(redis_url) as server:

        def payloads(queue: str) -> list[dict[str, Any]]:
            messages: Any = server.lrange(f"{QUEUE}{queue}", 0, -1)
            return [orjson.loads(message)["args"][0] for message in messages]

        yield payloads
