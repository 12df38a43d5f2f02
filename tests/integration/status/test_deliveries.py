"""The webhook deliveries of a request: what is posted, with which headers, and what was answered."""

import httpx
import pytest

from services.status import queries
from shared.db import Database
from tests.integration.status import seed
from tests.integration.status.conftest import read_all


def test_deliveries_list_every_attempt_newest_delivery_first(database: Database, client: httpx.Client) -> None:
    request = seed.request(run=2)
    seed.add(
        database, [request, *seed.delivered(request.id, 1, attempts=1), *seed.delivered(request.id, 2, attempts=3)]
    )

    newest, oldest = read_all(client, f"/v1/requests/{request.id}/deliveries", page_size=1)

    assert [attempt["status_code"] for attempt in newest["attempts"]] == [500, 500, 200]
    assert newest["attempts"][0] == {
        "number": 1,
        "at": "2026-03-01T12:00:00.000Z",
        "status_code": 500,
        "error": None,
        "duration_ms": 12,
        "response_excerpt": "ok",
        "request_headers": None,
    }
    assert len(oldest["attempts"]) == 1
    assert {key: newest[key] for key in ("type", "url", "status", "next_attempt_at")} == {
        "type": "request.completed",
        "url": "https://shop.example/hook",
        "status": "delivered",
        "next_attempt_at": None,
    }


def test_a_delivery_shows_the_text_that_is_posted_and_each_attempt_the_headers_that_were_sent(
    database: Database, client: httpx.Client
) -> None:
    body = '{"type": "request.completed","name":"Gr\u00f6\\u00dfe \\"x\\"", "n":1.0}'
    request = seed.request()
    seed.add(database, [request, *seed.delivered(request.id, 1, attempts=2, body=body)])

    (shown,) = client.get(f"/v1/requests/{request.id}/deliveries").json()["items"]

    assert shown["body"] == body
    assert [attempt["request_headers"] for attempt in shown["attempts"]] == [
        None,
        {
            "webhook-id": shown["event_id"],
            "webhook-timestamp": "1772366400",
            "webhook-signature": "v1,c2lnbmF0dXJl2",
        },
    ]


def test_of_many_attempts_the_last_fifty_are_shown(database: Database, client: httpx.Client) -> None:
    request = seed.request(run=2)
    seed.add(
        database, [request, *seed.delivered(request.id, 1, attempts=60), *seed.delivered(request.id, 2, attempts=2)]
    )

    newest, oldest = client.get(f"/v1/requests/{request.id}/deliveries").json()["items"]

    assert [attempt["number"] for attempt in newest["attempts"]] == [1, 2]
    assert [attempt["number"] for attempt in oldest["attempts"]] == list(range(11, 61))


def test_a_page_of_deliveries_ends_where_many_attempts_are_listed(
    database: Database, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt may have 500 characters of an answer: 200 deliveries would be 30 MB."""
    monkeypatch.setattr(queries, "PAGE_BYTES", 100 * queries.ATTEMPT_BYTES)
    request = seed.request(run=5)
    attempts = [1, 60, 60, 2, 60]
    rows = [seed.delivered(request.id, run, attempts=of_run) for run, of_run in enumerate(attempts, start=1)]
    seed.add(database, [request, *(row for of_run in rows for row in of_run)])
    path = f"/v1/requests/{request.id}/deliveries"

    pages = [client.get(path).json()]
    while pages[-1]["next_page_token"]:
        pages.append(client.get(path, params={"page_token": pages[-1]["next_page_token"]}).json())

    assert [[len(item["attempts"]) for item in page["items"]] for page in pages] == [[50, 2, 50], [50, 1]]


def test_a_page_of_deliveries_ends_where_their_bodies_are_long(database: Database, client: httpx.Client) -> None:
    request = seed.request(run=5)
    rows = [seed.delivered(request.id, run, attempts=1, body="x" * 400_000) for run in range(1, 6)]
    seed.add(database, [request, *(row for of_run in rows for row in of_run)])
    path = f"/v1/requests/{request.id}/deliveries"

    assert len(client.get(path).json()["items"]) == 3
    assert len(read_all(client, path)) == 5
