"""The last use of an API key goes from Valkey to its row."""

from datetime import UTC, datetime

import pytest
import redis

from services.notifier import housekeeping
from shared.db import Database
from shared.valkey import USED
from tests.integration.keys.conftest import Key, add_account, add_key
from tests.integration.notifier.conftest import Housekeepers
from tests.integration.seed import sql


def last_used(database: Database, key: Key) -> int | None:
    at: datetime | None = sql(database, "SELECT last_used_at FROM api_key WHERE id = %(id)s", id=key.id)[0][
        "last_used_at"
    ]
    return int(at.astimezone(UTC).timestamp()) if at else None


@pytest.fixture
def key(database: Database) -> Key:
    return add_key(database, add_account(database))


@pytest.fixture
def valkey(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url)


def test_uses_are_moved_and_never_back(
    database: Database, key: Key, valkey: redis.Redis, housekeepers: Housekeepers
) -> None:
    for seconds, expected in ((100, 100), (50, 100), (200, 200)):
        valkey.hset(USED, mapping={key.id: seconds, "gone": seconds})
        housekeepers().run_once()
        assert last_used(database, key) == expected
        assert not valkey.exists(USED)


def test_a_use_that_is_noted_meanwhile_is_kept(
    database: Database,
    key: Key,
    valkey: redis.Redis,
    housekeepers: Housekeepers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    valkey.hset(USED, key.id, 1_700_000_000)
    record = housekeeping.record_uses

    def overtaken(*args: object) -> None:
        record(*args)  # type: ignore[arg-type]
        valkey.hset(USED, key.id, 1_700_000_300)

    monkeypatch.setattr(housekeeping, "record_uses", overtaken)
    housekeepers().run_once()
    monkeypatch.undo()
    assert last_used(database, key) == 1_700_000_000
    housekeepers().run_once()
    assert last_used(database, key) == 1_700_000_300


def test_valkey_that_is_away_stops_no_other_task(housekeepers: Housekeepers) -> None:
    keeper = housekeepers()
    keeper.valkey = redis.Redis(port=1)
    assert keeper.run_once() is False
