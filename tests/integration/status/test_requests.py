"""The request itself: its counts mid-run, its ETag, its list, and the older contracts."""

from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from shared.db import Database
from shared.ids import uuid7
from shared.schemas.accounts import Account
from tests.integration.status import seed
from tests.integration.status.conftest import read_all


def test_counts_are_the_requests_own_plus_those_of_its_dispatched_open_groups(
    database: Database, client: httpx.Client
) -> None:
    request = seed.request(images=384, completed=120, failed=8, source_bytes=1000, rendition_bytes=400)
    settled = seed.group(request.id, 1, state="settled", completed=120, failed=8, source_bytes=1000)
    first_open = seed.group(request.id, 2, completed=10, failed=2, source_bytes=100, rendition_bytes=30)
    second_open = seed.group(request.id, 3, state="waiting", completed=1, source_bytes=10, rendition_bytes=3)
    # Never dispatched, so it is not read: it cannot have counts in truth.
    not_yet = seed.group(request.id, 4, state="waiting", dispatch_no=0, completed=100, source_bytes=1000)
    seed.add(database, [request, settled, first_open, second_open, not_yet])

    body = client.get(f"/v1/requests/{request.id}").json()

    assert body["images"] == {"total": 384, "pending": 243, "completed": 131, "failed": 10, "cancelled": 0}
    assert body["bytes"]["source"] == 1110
    assert body["bytes"]["rendition"] == 433
    assert body["status"] == "processing"
    assert body["outcome"] is None
    assert body["links"]["output_csv"] == f"https://shop.example/v1/requests/{request.id}/output.csv"


def test_unchanged_request_answers_304_and_changed_one_200(database: Database, client: httpx.Client) -> None:
    request = seed.request(images=128)
    seed.add(database, [request, seed.group(request.id, 1, completed=5)])
    first = client.get(f"/v1/requests/{request.id}")
    known = {"If-None-Match": f'"other", {first.headers["etag"]}'}

    again = client.get(f"/v1/requests/{request.id}", headers=known)
    seed.add(database, [seed.group(request.id, 2, completed=6)])
    changed = client.get(f"/v1/requests/{request.id}", headers=known)

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert changed.status_code == 200


def test_retry_after_stands_until_the_request_is_terminal(database: Database, client: httpx.Client) -> None:
    under_way, done = seed.request(), seed.request(status="completed", completed=1, finished_at=seed.NOW)
    seed.add(database, [under_way, done])

    assert client.get(f"/v1/requests/{under_way.id}").headers["retry-after"] == "1"
    assert "retry-after" not in client.get(f"/v1/requests/{done.id}").headers


@pytest.mark.parametrize("path", ["", "/products", "/rejected", "/images", "/images/1/source", "/output.csv"])
@pytest.mark.parametrize("request_id", ["7c9e6679-7425-40de-944b-e07fc1f90ae7", "none", "1", "%00", "0198-x"])
def test_unknown_and_malformed_ids_are_404(client: httpx.Client, request_id: str, path: str) -> None:
    answer = client.get(f"/v1/requests/{request_id}{path}")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize("path", ["", "/products", "/images", "/deliveries", "/output.csv", "/outputs.zip", "/events"])
def test_another_accounts_request_is_404(database: Database, client: httpx.Client, path: str) -> None:
    other = Account(id=uuid7(), name=f"other {uuid4()}", signing_secret="whsec_other")
    seed.add(database, [other])
    request = seed.stored(database, account_id=other.id, status="completed")

    assert client.get(f"/v1/requests/{request.id}{path}").status_code == 404
    assert client.get("/v1/requests").json()["items"] == []


def test_list_is_newest_first_without_loss_or_duplicates_over_pages(database: Database, client: httpx.Client) -> None:
    # Three share each moment: the id must break the tie.
    requests = [seed.request(created_at=seed.NOW + timedelta(seconds=number // 3)) for number in range(23)]
    seed.add(database, requests)
    expected = [str(r.id) for r in sorted(requests, key=lambda r: (r.created_at, r.id), reverse=True)]

    assert [item["request_id"] for item in read_all(client, "/v1/requests", page_size=5)] == expected


def test_list_can_be_filtered_by_status(database: Database, client: httpx.Client) -> None:
    seed.add(database, [seed.request(), seed.request(status="failed"), seed.request(status="failed")])

    items = client.get("/v1/requests?status=failed").json()["items"]

    assert [item["status"] for item in items] == ["failed", "failed"]


@pytest.mark.parametrize("query", ["status=broken", "page_size=0", "page_size=x", "page_size=-1", "page_token=garbage"])
@pytest.mark.parametrize("path", ["/v1/requests", "/v1/requests/0198c0de-0000-7000-8000-000000000000/images"])
def test_bad_parameters_are_400(client: httpx.Client, path: str, query: str) -> None:
    answer = client.get(f"{path}?{query}")

    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_parameter"


def test_page_size_above_the_maximum_is_clamped(database: Database, client: httpx.Client) -> None:
    seed.add(database, [seed.request() for _ in range(201)])

    assert len(client.get("/v1/requests?page_size=100000").json()["items"]) == 200


def test_a_page_of_requests_is_one_statement(database: Database, client: httpx.Client, statements: list[str]) -> None:
    requests = [seed.request() for _ in range(40)]
    seed.add(database, [*requests, *(seed.group(request.id, 1, completed=1) for request in requests)])

    items = client.get("/v1/requests").json()["items"]

    assert len(items) == 40
    assert all(item["images"]["completed"] == 1 for item in items)
    assert len(statements) == 1


def test_head_and_wrong_methods(database: Database, client: httpx.Client) -> None:
    request = seed.stored(database)

    head = client.head(f"/v1/requests/{request.id}")
    wrong = client.put(f"/v1/requests/{request.id}")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"]
    assert wrong.status_code == 405
    assert wrong.json()["code"] == "method_not_allowed"
    assert wrong.headers["allow"] == "GET, HEAD, DELETE"


@pytest.mark.parametrize("path", ["/status/{}", "/status/{}/", "/api/check-status/{}/", "/api/check-status/{}"])
@pytest.mark.parametrize(
    ("status", "read_as"),
    [("pending", "pending"), ("processing", "processing"), ("completed", "completed"), ("cancelled", "failed")],
)
def test_older_contracts_know_four_words(
    database: Database, client: httpx.Client, path: str, status: str, read_as: str
) -> None:
    request = seed.stored(database, status=status)

    body = client.get(path.format(request.id)).json()

    assert (body["request_id"], body["status"]) == (str(request.id), read_as)
    assert (body["output_csv_url"] is not None) == (status in ("completed", "cancelled"))


@pytest.mark.parametrize("path", ["/status/", "/api/check-status/"])
def test_older_contracts_answer_404_for_an_unknown_request(client: httpx.Client, path: str) -> None:
    assert client.get(f"{path}{uuid4()}").status_code == 404
    assert client.get(f"{path}nonsense/").status_code == 404
