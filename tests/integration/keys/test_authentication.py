"""Every call needs a valid key with the right scope, wherever keys are required."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import AsyncMock

import httpx
import psycopg
import pytest
import redis
from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send

from shared import valkey
from shared.db import Database
from shared.http import authentication
from shared.http.authentication import KEY, Authentication, Keyring, LastUse
from shared.http.caller import NOBODY, Caller, caller_of
from shared.http.problems import Problem
from shared.valkey import USED
from tests.integration.keys.conftest import Call, Key, add_account, add_key, revoke
from tests.integration.seed import sql
from tests.stack import Stack, until

MALFORMED: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "no scheme": lambda key: key,
    "basic": lambda key: f"Basic {key}",
    "no key": lambda _: "Bearer",
    "truncated": lambda key: f"Bearer {key[:-1]}",
    "longer": lambda key: f"Bearer {key}x",
    "another secret": lambda key: f"Bearer {key[:-43]}{key[-43:].swapcase()}",
    "another id": lambda key: f"Bearer ht_{'z' * 12}{key[15:]}",
    "id only": lambda key: f"Bearer {key[:15]}",
    "quoted": lambda key: f'Bearer "{key}"',
    "two": lambda key: f"Bearer {key}, Bearer {key}",
    "not ASCII": lambda key: f"Bearer {key[:-1]}\xe9",
    "upper case": lambda key: f"Bearer {key.upper()}",
    "underscores": lambda key: "Bearer " + key.replace("_", "__"),
}


@pytest.fixture
def key(database: Database) -> Key:
    return add_key(database, add_account(database))


def refused(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer realm="halftone", error="invalid_token"'
    assert answer.headers["x-request-id"]
    return dict(answer.json())


def test_a_call_without_a_key_is_401_and_says_how_to_send_one(call: Call) -> None:
    answer = call("GET", "/v1/requests")
    assert (answer.status_code, answer.json()["code"]) == (401, "missing_key")
    assert answer.headers["www-authenticate"] == 'Bearer realm="halftone"'


def test_a_valid_key_is_let_in_whatever_the_case_of_the_scheme(call: Call, key: Key) -> None:
    for scheme in ("Bearer", "bearer", "BEARER", "Bearer "):
        assert call("GET", "/v1/requests", headers={"Authorization": f"{scheme} {key.text}"}).status_code == 200


def test_every_wrong_key_gets_the_same_answer(call: Call, database: Database, key: Key) -> None:
    expired, revoked = add_key(database, key.account, expires_in=-1), add_key(database, key.account)
    revoke(database, revoked)
    wrong = [make(key.text) for make in MALFORMED.values()] + [f"Bearer {one.text}" for one in (expired, revoked)]
    for header in wrong:
        for method, path in (("GET", "/v1/requests"), ("POST", "/v1/requests"), ("GET", "/nowhere")):
            answer = call(method, path, headers={"Authorization": header.encode("latin-1")})
            assert refused(answer) == {
                "type": "/docs/problems/invalid_key",
                "title": "Unauthorized",
                "status": 401,
                "detail": "This API key is not valid: it is misspelt, expired or revoked.",
                "code": "invalid_key",
            }, header


def test_two_authorization_headers_are_refused(call: Call, key: Key) -> None:
    refused(call("GET", "/v1/requests", headers=[("Authorization", f"Bearer {key.text}")] * 2))


def test_a_scope_that_is_missing_is_403_and_named(call: Call, database: Database, key: Key) -> None:
    reader = add_key(database, key.account, "read")
    assert call("GET", "/v1/requests", headers=reader.headers).status_code == 200
    answer = call("POST", "/v1/requests", headers=reader.headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    assert "`write`; this key has `read`" in answer.json()["detail"]
    assert 'scope="write"' in answer.headers["www-authenticate"]


def test_a_revoked_key_is_out_within_five_seconds_everywhere(call: Call, database: Database, key: Key) -> None:
    calls = [("GET", "/v1/requests"), ("POST", "/v1/requests/x/cancel")]
    assert [call(*one, headers=key.headers).status_code for one in calls] == [200, 404]
    revoke(database, key)
    until(lambda: {call(*one, headers=key.headers).status_code for one in calls} == {401}, within=8, every=0.2)


def test_the_last_use_is_recorded_once_a_minute(call: Call, key: Key, servers: Stack) -> None:
    with redis.Redis.from_url(servers.redis_url, decode_responses=True) as client:
        client.delete(USED)
        for _ in range(3):
            call("GET", "/v1/requests", headers=key.headers)
        at = until(lambda: client.hget(USED, key.id))
        assert abs(time.time() - int(str(at))) < 60
        client.delete(USED)
        call("GET", "/v1/requests", headers=key.headers)
        call("GET", "/v1/requests", headers={"Authorization": f"Bearer ht_{key.id}_{'x' * 43}"})
        assert client.hlen(USED) == 0


@asynccontextmanager
async def keyring(database: Database, *, redis_url: str = "redis://127.0.0.1:1/0") -> AsyncIterator[Keyring]:
    ring = Keyring(database.connect, LastUse(valkey.connect(redis_url)))
    try:
        yield ring
    finally:
        await ring.close()


def secret_of(key: Key) -> str:
    match = KEY.fullmatch(key.text)
    assert match
    return match[2]


class Counting:
    """`Database.connect`, with the look-ups that run over its connections; `away` as if the server were."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lookups = 0
        self.away = False
        execute = psycopg.AsyncConnection.execute

        async def counted(connection: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            if self.away:
                await connection.close()
            self.lookups += query == authentication.FIND
            return await execute(connection, query, *args, **kwargs)

        monkeypatch.setattr(psycopg.AsyncConnection, "execute", counted)
        self._connect = database.connect

    async def connect(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self.away:
            raise psycopg.OperationalError("away")
        return await self._connect()


def test_many_calls_at_once_are_one_look_up(database: Database, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(database, monkeypatch)

    async def ask() -> None:
        async with keyring(counting) as ring:  # type: ignore[arg-type]
            for _ in range(3):
                found = await asyncio.gather(*(ring.caller(key.id, secret_of(key)) for _ in range(200)))
                assert {caller.account_id for caller in found if caller} == {key.account}

    asyncio.run(ask())
    assert counting.lookups == 1


def test_guessed_ids_cannot_flood_the_database(database: Database, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a key in use is let in meanwhile, also when it is read again."""
    counting = Counting(database, monkeypatch)
    monkeypatch.setattr(authentication, "CACHE_SECONDS", 0.0)

    async def ask() -> int:
        refusals = 0
        async with keyring(counting) as ring:  # type: ignore[arg-type]
            assert await ring.caller(key.id, secret_of(key))
            begun = counting.lookups
            ring._new_since = time.monotonic() + 3600  # the second does not pass
            for number in range(300):
                guess = f"{number:0>12}".translate(str.maketrans("0123456789", "abcdefghij"))
                try:
                    assert await ring.find(guess) is None
                except Problem as problem:
                    refusals += problem.status == 429 and problem.headers["Retry-After"] == "1"
            assert counting.lookups - begun == 300 - refusals
            assert await ring.caller(key.id, secret_of(key))
        return refusals

    assert asyncio.run(ask()) >= 300 - authentication.NEW_IDS_OF_ONE


def test_guesses_from_one_address_do_not_keep_out_a_valid_key_that_is_new_here(database: Database, key: Key) -> None:
    async def ask() -> None:
        async with keyring(database) as ring:
            ring._new_since = time.monotonic() + 3600  # the second does not pass
            for number in range(authentication.NEW_IDS_OF_ONE):
                assert await ring.find(f"{number:0>12}", address="203.0.113.1") is None
            with pytest.raises(Problem) as raised:
                await ring.find("z" * 12, address="203.0.113.1")
            assert raised.value.code == "too_many_unknown_keys"
            assert await ring.caller(key.id, secret_of(key), address="198.51.100.1")

    asyncio.run(ask())


def test_a_call_that_needs_no_key_is_nobodys(database: Database) -> None:
    """Not the default account's, as a call without keys is: what finds an account by mistake finds none."""
    seen: list[Caller] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(caller_of(HttpRequest(scope)))

    async def ask() -> None:
        async with keyring(database) as ring:
            scope = {"type": "http", "method": "GET", "path": "/files/x", "headers": []}
            await Authentication(app, keyring=ring)(scope, AsyncMock(), AsyncMock())

    asyncio.run(ask())
    assert seen == [NOBODY]


def test_what_is_remembered_is_bounded(database: Database, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "MAX_UNKNOWN", 10)
    monkeypatch.setattr(authentication, "MAX_KNOWN", 2)

    async def ask() -> None:
        async with keyring(database) as ring:
            for letter in "abcdefghijklmnopqrst":
                await ring.find(letter * 12)
            for one in (key, *(add_key(database, key.account) for _ in range(3))):
                assert await ring.caller(one.id, secret_of(one))
            assert (len(ring._unknown), len(ring._known)) == (10, 2)

    asyncio.run(ask())


def test_a_database_that_is_away(database: Database, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that were read go on for their few seconds, others are 503; when it is back, all is as before."""
    counting = Counting(database, monkeypatch)

    async def ask() -> None:
        async with keyring(counting) as ring:  # type: ignore[arg-type]
            assert await ring.caller(key.id, secret_of(key))
            counting.away = True
            assert await ring.caller(key.id, secret_of(key))
            with pytest.raises(Problem) as raised:
                await ring.find("a" * 12)
            assert raised.value.status == 503
            monkeypatch.setattr(authentication, "CACHE_SECONDS", 0.0)
            with pytest.raises(Problem) as raised:
                await ring.caller(key.id, secret_of(key))
            assert raised.value.status == 503
            counting.away = False
            assert await ring.caller(key.id, secret_of(key))

    asyncio.run(ask())


def test_a_silent_database_holds_no_caller_for_long(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "LOOKUP_SECONDS", 0.1)

    class Silent:
        async def connect(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
            await asyncio.sleep(3600)
            raise AssertionError

    async def ask() -> list[Any]:
        async with keyring(Silent()) as ring:  # type: ignore[arg-type]
            return await asyncio.gather(*(ring.find(key.id) for _ in range(5)), return_exceptions=True)

    assert [error.status for error in asyncio.run(ask())] == [503] * 5


def test_valkey_that_does_not_answer_costs_a_call_nothing(database: Database, key: Key) -> None:
    async def ask() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with keyring(database, redis_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0") as ring:
                assert await ring.caller(key.id, secret_of(key))
                assert ring._last_use._task is not None  # still at it

    asyncio.run(ask())


def test_the_database_holds_only_the_digest(database: Database, key: Key) -> None:
    row = sql(database, "SELECT * FROM api_key WHERE id = %(id)s", id=key.id)[0]
    assert secret_of(key) not in str(row)
    assert len(row["digest"]) == 64
