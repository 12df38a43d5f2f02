"""An event stream ends with the key that opened it."""

import time
from collections.abc import Iterator

import httpx
import pytest

from shared.db import Database
from tests.integration.keys.conftest import Key, add_account, add_key, revoke
from tests.integration.seed import sql
from tests.integration.status import seed


@pytest.fixture
def key(database: Database) -> Key:
    return add_key(database, add_account(database))


def following(addresses: dict[str, str], database: Database, key: Key) -> Iterator[str]:
    """The lines of the stream of a request that is under way."""
    request = seed.stored(database, account_id=key.account)
    url = f"{addresses['status']}/v1/requests/{request.id}/events"
    with httpx.stream("GET", url, headers=key.headers, timeout=10) as answer:  # sooner than a ping
        assert answer.status_code == 200
        yield from answer.iter_lines()


def test_it_ends_when_the_key_is_revoked(database: Database, addresses: dict[str, str], key: Key) -> None:
    lines = following(addresses, database, key)
    assert any(line == "event: progress" for line in lines)
    revoke(database, key)
    assert not [line for line in lines if line.startswith("event: done")]


def test_it_ends_when_the_key_expires(database: Database, addresses: dict[str, str], key: Key) -> None:
    short = add_key(database, key.account, expires_in=4)
    assert not [line for line in following(addresses, database, short) if line.startswith("event: done")]


def test_a_valid_key_follows_to_the_end(database: Database, addresses: dict[str, str], key: Key) -> None:
    lines = following(addresses, database, key)
    assert any(line == "event: progress" for line in lines)
    time.sleep(2)  # longer than between two checks
    sql(
        database,
        "UPDATE processing_request SET status = 'completed', completed = 1 WHERE account_id = %(id)s",
        id=key.account,
    )
    assert [line for line in lines if line.startswith("event: ")] == ["event: done"]
