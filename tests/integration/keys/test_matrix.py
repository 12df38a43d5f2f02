"""Every route of both services, made from their routing tables: without a key, with each scope, for another account.

A route that is new fails here until it has a case.
"""

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

import httpx
import pytest

from services.ingest import account_routes as account_writes
from services.ingest import routes as writes
from services.status import account_routes, docs, events, files, page, routes
from shared.db import Database
from shared.http.paths import scope_of
from shared.ids import uuid7
from tests.integration.keys.conftest import Call, Key, add_account, add_key
from tests.integration.seed import sql
from tests.integration.status import seed

TABLE = sorted(
    {
        (method, route.path)
        for route in (
            *writes.ROUTES,
            *account_writes.ROUTES,
            *routes.ROUTES,
            *events.ROUTES,
            *files.ROUTES,
            *account_routes.ROUTES,
            *page.ROUTES,
            *docs.routes(public_url="https://shop.example", needs_keys=True),
        )
        for method in route.methods or ()
    }
)
OPEN = {"/files/{key:path}", "/openapi.json", "/docs", "/docs/{name:path}", *(route.path for route in page.ROUTES)}
LISTS = {"/v1/requests", "/v1/keys", "/v1/audit"}
OWN = {"/v1/account", "/v1/account/signing-secret/rotate", "/upload", "/api/upload-csv/"}
"""They name nothing: whatever they answer or make belongs to the account that asks."""
BY_ID = [(method, path) for method, path in TABLE if path not in OPEN | LISTS | OWN]
UNKNOWN = {"request_id": str(uuid7()), "delivery_id": str(uuid7()), "key_id": "a" * 12, "number": "1"}
every_route = pytest.mark.parametrize(("method", "path"), TABLE)


class Shop(NamedTuple):
    """An account with a finished request, its delivery, and keys."""

    key: Key
    ids: dict[str, str]


def shop(database: Database) -> Shop:
    account = add_account(database)
    request = seed.request(account_id=account, status="completed", finished_at=seed.NOW, completed=0, failed=1)
    event, delivery, *attempts = seed.delivered(request.id, 1, attempts=1)
    image = seed.completed(request.id, 1)
    seed.add(database, [request, image, seed.product(request.id, 1, [1]), event, delivery, *attempts])
    key = add_key(database, account)
    delivery_id = sql(database, "SELECT id::text FROM delivery WHERE request_id = %(id)s", id=request.id)[0]["id"]
    ids = {"request_id": str(request.id), "number": "1", "delivery_id": delivery_id, "key_id": key.id}
    return Shop(key, ids)


@pytest.fixture
def own(database: Database) -> Shop:
    return shop(database)


@pytest.fixture
def other(database: Database) -> Key:
    return add_key(database, add_account(database))


def at(path: str, ids: dict[str, str]) -> str:
    return path.replace(":path", "").format_map({**ids, "key": "x", "name": "docs.js"})


def comparable(answer: httpx.Response) -> tuple[int, bytes, set[str]]:
    return answer.status_code, answer.content, set(answer.headers)


def rows_of(database: Database, account: UUID) -> Iterator[list[dict[str, object]]]:
    """All that an account has."""
    for table in ("account", "api_key", "audit_entry", "processing_request"):
        column = "id" if table == "account" else "account_id"
        statement = f"SELECT * FROM {table} WHERE {column} = %(id)s ORDER BY 1"
        yield sql(database, statement, id=account)
    statement = "SELECT d.* FROM delivery d JOIN processing_request r ON r.id = d.request_id WHERE account_id = %(id)s"
    yield sql(database, statement, id=account)


def test_every_route_is_of_one_kind() -> None:
    named = {path for _, path in BY_ID}
    assert all("{" in path for path in named)
    assert not any("{" in path for path in LISTS | OWN)
    assert {path for _, path in TABLE} == OPEN | LISTS | OWN | named


@pytest.mark.parametrize(("method", "path"), BY_ID)
def test_what_another_account_has_is_as_unknown_as_what_does_not_exist(
    method: str, path: str, call: Call, database: Database, own: Shop, other: Key
) -> None:
    before = list(rows_of(database, own.key.account))
    foreign = call(method, at(path, own.ids), headers=other.headers)
    unknown = call(method, at(path, UNKNOWN), headers=other.headers)
    assert foreign.status_code == 404
    assert comparable(foreign) == comparable(unknown)
    assert list(rows_of(database, own.key.account)) == before
    mine = call(method, at(path, own.ids), headers=own.key.headers)
    assert comparable(mine) != comparable(foreign)  # the case reaches something
    assert mine.status_code < 500


@pytest.mark.parametrize("path", sorted(LISTS))
def test_the_lists_of_another_account_are_empty(path: str, call: Call, own: Shop, other: Key) -> None:
    call("POST", f"/v1/keys/{own.key.id}/rotate", headers=own.key.headers)
    assert call("GET", path, headers=own.key.headers).json()["items"]
    theirs = call("GET", path, headers=other.headers).json()["items"]
    assert [item["key_id"] for item in theirs if "key_id" in item] == ([other.id] if path == "/v1/keys" else [])
    assert own.key.id not in str(theirs)
    assert path == "/v1/keys" or theirs == []


@every_route
def test_without_a_key_only_the_public_routes_answer(method: str, path: str, call: Call, own: Shop) -> None:
    answer = call(method, at(path, own.ids))
    assert (answer.status_code == 401) == (path not in OPEN)
    assert ("www-authenticate" in answer.headers) == (path not in OPEN)


@every_route
def test_a_scope_opens_its_routes_and_no_other(
    method: str, path: str, call: Call, database: Database, own: Shop, other: Key
) -> None:
    """403 without the scope, before anything is looked up; the ids are another account's, so nothing changes."""
    needed = scope_of(method, at(path, own.ids))
    for scope in ("read", "write", "admin"):
        key = add_key(database, other.account, scope)
        answer = call(method, at(path, own.ids), headers=key.headers)
        assert (answer.status_code == 403) == (needed not in {None, scope}), (scope, answer.text)
        if answer.status_code == 403 and method != "HEAD":
            assert answer.json()["code"] == "missing_scope"


@every_route
def test_a_line_feed_behind_a_path_leads_nowhere(
    method: str, path: str, call: Call, database: Database, own: Shop
) -> None:
    """Starlette's routes would overlook it, and the rules of scopes, rates and places would not."""
    for scope in ("read", "write"):
        key = add_key(database, own.key.account, scope)
        assert call(method, f"{at(path, own.ids)}%0A", headers=key.headers).status_code == 404
    assert call("GET", "/metrics%0A", headers=own.key.headers).status_code == 404


def test_the_rotated_out_key_ends_after_the_overlap(call: Call, database: Database, own: Shop) -> None:
    new = call("POST", f"/v1/keys/{own.key.id}/rotate", headers=own.key.headers, json={"overlap_seconds": 0}).json()
    fresh = add_key(database, own.key.account)
    rotated = call("POST", f"/v1/keys/{fresh.id}/rotate", headers=fresh.headers, json={"overlap_seconds": 60}).json()
    assert call("GET", "/v1/requests", headers=fresh.headers).status_code == 200
    sql(database, "UPDATE api_key SET expires_at = now() - interval '1 s' WHERE id = %(id)s", id=rotated["key_id"])
    for text in (own.key.text[:-1], rotated["key"]):
        answer = call("GET", "/v1/requests", headers={"Authorization": f"Bearer {text}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_key")
    assert call("GET", "/v1/requests", headers={"Authorization": f"Bearer {new['key']}"}).status_code == 200


def test_idempotency_keys_are_per_account(call: Call, own: Shop, other: Key) -> None:
    """The same key and the same file of two accounts are two requests."""
    manifest = b"Serial Number,Product Name,Input Image Urls\n1,Chair,https://images.example/1.jpg\n"
    ids = set()
    for key in (own.key, other, own.key):
        headers = {**key.headers, "Idempotency-Key": "the same", "Content-Type": "text/csv"}
        answer = call("POST", "/v1/requests", headers=headers, content=manifest)
        assert answer.status_code == 202, answer.text
        ids.add(answer.json()["request_id"])
    assert len(ids) == 2
