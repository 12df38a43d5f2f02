"""An admin of an account over the API: keys, the signing secret, the audit log."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.ingest.accounts import administration
from shared.db import Database
from shared.http.authentication import KEY
from tests.integration.keys.conftest import Call, Key, add_account, add_key
from tests.integration.seed import sql
from tests.stack import until


@pytest.fixture
def admin(database: Database) -> Key:
    return add_key(database, add_account(database))


def audit(call: Call, admin: Key) -> list[dict[str, Any]]:
    return list(call("GET", "/v1/audit", headers=admin.headers).json()["items"])


def test_a_key_is_made_shown_once_and_works(call: Call, admin: Key) -> None:
    in_a_day = datetime.now(UTC) + timedelta(days=1)
    order = {"scopes": ["read"], "expires_at": in_a_day.isoformat()}
    answer = call("POST", "/v1/keys", headers=admin.headers, json=order)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    made = answer.json()
    assert KEY.fullmatch(made["key"])
    assert made["key"].startswith(f"{made['prefix']}_")
    assert made["scopes"] == ["read"]
    headers = {"Authorization": f"Bearer {made['key']}"}
    seen = call("GET", "/v1/account", headers=headers).json()
    assert (seen["key_id"], seen["scopes"], seen["name"]) == (made["key_id"], ["read"], str(admin.account))
    listed = call("GET", "/v1/keys", headers=admin.headers)
    assert [item["key_id"] for item in listed.json()["items"]] == [made["key_id"], admin.id]
    assert made["key"][-43:] not in listed.text
    entry = audit(call, admin)[0]
    assert (entry["actor"], entry["action"], entry["target"]) == (admin.id, "key.created", made["key_id"])
    assert made["key"][-43:] not in str(entry)


def test_without_a_body_a_key_may_read_and_write(call: Call, admin: Key) -> None:
    made = call("POST", "/v1/keys", headers=admin.headers).json()
    assert (made["scopes"], made["expires_at"]) == (["read", "write"], None)


@pytest.mark.parametrize(
    "order",
    [
        {"scopes": []},
        {"scopes": ["root"]},
        {"scopes": "read"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "9999-12-31T23:59:59-14:00"},
        {"expires_at": "2030-01-01T00:00:00"},
        {"expires_at": 5},
        {"name": "x"},
        [],
        7,
    ],
)
def test_a_wrong_order_is_422_and_makes_nothing(call: Call, admin: Key, order: Any) -> None:
    answer = call("POST", "/v1/keys", headers=admin.headers, json=order)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")
    assert len(call("GET", "/v1/keys", headers=admin.headers).json()["items"]) == 1


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"scopes": ["read"]', b"[" * 5000])
def test_a_body_that_is_no_json_is_422(call: Call, admin: Key, content: bytes) -> None:
    assert call("POST", "/v1/keys", headers=admin.headers, content=content).status_code == 422


def test_a_large_body_is_413(call: Call, admin: Key) -> None:
    assert call("POST", "/v1/keys", headers=admin.headers, content=b" " * 20_000).status_code == 413


def test_an_account_sees_its_limits_and_what_it_uses_of_them(call: Call, database: Database, admin: Key) -> None:
    sql(database, "UPDATE account SET open_requests = 7, kept_bytes = 30 WHERE id = %(id)s", id=admin.account)
    sql(
        database,
        """
        INSERT INTO account_usage (account_id, day, images)
        SELECT %(id)s, (now() AT TIME ZONE 'UTC')::date - ago, 5 + ago FROM generate_series(0, 1) ago
        """,
        id=admin.account,
    )
    seen = call("GET", "/v1/account", headers=admin.headers).json()
    assert seen["limits"] == {
        "calls_per_second": 50,
        "uploads_per_minute": 60,
        "open_requests": 7,
        "images_per_day": 5_000_000,
        "stored_bytes": None,
    }
    ends = seen["usage"].pop("day_ends_at")
    assert seen["usage"] == {"open_requests": 0, "images_today": 5, "stored_bytes": 30}
    assert ends.endswith("T00:00:00.000Z")


def test_an_account_has_at_most_so_many_valid_keys(call: Call, admin: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(administration, "MAX_KEYS", 2)
    assert call("POST", "/v1/keys", headers=admin.headers).status_code == 201
    answer = call("POST", "/v1/keys", headers=admin.headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_keys")
    assert call("POST", f"/v1/keys/{admin.id}/rotate", headers=admin.headers).status_code == 409


def test_rotation_leaves_both_valid_for_the_overlap(call: Call, admin: Key) -> None:
    new = call("POST", f"/v1/keys/{admin.id}/rotate", headers=admin.headers, json={"overlap_seconds": 600}).json()
    assert new["scopes"] == ["read", "write", "admin"]
    new_headers = {"Authorization": f"Bearer {new['key']}"}
    assert {call("GET", "/v1/keys", headers=headers).status_code for headers in (new_headers, admin.headers)} == {200}
    keys = {item["key_id"]: item for item in call("GET", "/v1/keys", headers=new_headers).json()["items"]}
    left = datetime.fromisoformat(keys[admin.id]["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=500) < left <= timedelta(seconds=600)
    entry = audit(call, admin)[0]
    assert (entry["action"], entry["target"], entry["detail"]["new"]) == ("key.rotated", admin.id, new["key_id"])


def test_a_key_that_ended_is_not_rotated(call: Call, database: Database, admin: Key) -> None:
    old = add_key(database, admin.account, expires_in=-1)
    answer = call("POST", f"/v1/keys/{old.id}/rotate", headers=admin.headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "key_ended")


@pytest.mark.parametrize("overlap", [-1, 10**9, "60", 1.5, None])
def test_an_overlap_out_of_bounds_is_422(call: Call, admin: Key, overlap: Any) -> None:
    order = {"overlap_seconds": overlap}
    assert call("POST", f"/v1/keys/{admin.id}/rotate", headers=admin.headers, json=order).status_code == 422


def test_revoking_twice_is_revoking_once(call: Call, database: Database, admin: Key) -> None:
    other = add_key(database, admin.account)
    for _ in range(2):
        assert call("DELETE", f"/v1/keys/{other.id}", headers=admin.headers).status_code == 204
    assert [entry["action"] for entry in audit(call, admin)] == ["key.revoked"]
    until(lambda: call("GET", "/v1/requests", headers=other.headers).status_code == 401, within=8)


@pytest.mark.parametrize("key_id", ["x", "ht_aaaaaaaaaaaa", "AAAAAAAAAAAA", "aaaaaaaaaaa1", "%F0%9F%94%91"])
def test_a_malformed_id_is_as_unknown_as_any(call: Call, admin: Key, key_id: str) -> None:
    for method, path in (("DELETE", f"/v1/keys/{key_id}"), ("POST", f"/v1/keys/{key_id}/rotate")):
        answer = call(method, path, headers=admin.headers)
        assert (answer.status_code, answer.json()["detail"]) == (404, "No key with this id.")


def test_the_signing_secret_is_rotated_and_both_sign_for_a_day(call: Call, database: Database, admin: Key) -> None:
    answer = call("POST", "/v1/account/signing-secret/rotate", headers=admin.headers)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    secret = answer.json()["signing_secret"]
    assert re.fullmatch(r"whsec_[\w+/=]{40,90}", secret)
    row = sql(
        database,
        """
        SELECT signing_secret, previous_secret, extract(epoch FROM previous_secret_until - now())::float8 AS seconds
        FROM account WHERE id = %(id)s
        """,
        id=admin.account,
    )[0]
    assert (row["signing_secret"], row["previous_secret"]) == (secret, "whsec_x")
    assert 23 * 3600 < row["seconds"] <= 24 * 3600
    entry = audit(call, admin)[0]
    assert entry["action"] == "signing_secret.rotated"
    assert secret not in str(entry)


def test_the_audit_log_and_the_keys_are_paged_newest_first(call: Call, admin: Key) -> None:
    made = [call("POST", "/v1/keys", headers=admin.headers).json()["key_id"] for _ in range(5)]
    for path, name, expected in (("/v1/audit", "target", made[::-1]), ("/v1/keys", "key_id", [*made[::-1], admin.id])):
        seen: list[str] = []
        token: str | None = ""
        while token is not None:
            page = call("GET", f"{path}?page_size=2&page_token={token}", headers=admin.headers).json()
            assert len(page["items"]) <= 2
            seen += [item[name] for item in page["items"]]
            token = page["next_page_token"]
        assert seen == expected
        assert call("GET", f"{path}?page_token=x", headers=admin.headers).status_code == 400
