"""Retry, cancel, erase and redeliver."""

from uuid import UUID, uuid4

import httpx
import pytest

from services.ingest import routes
from services.ingest.settings import IngestSettings
from shared.blobs import connect, source_key
from tests.integration.ingest.conftest import Sent, Sql
from tests.integration.ingest.test_accept import HEADER, post_csv
from tests.integration.ingest.test_http_edges import problem

CHANGES = [
    ("POST", "/v1/requests/{}/retry"),
    ("POST", "/v1/requests/{}/cancel"),
    ("DELETE", "/v1/requests/{}"),
    ("POST", "/v1/deliveries/{}/redeliver"),
]


@pytest.fixture
def running(client: httpx.Client) -> str:
    """A request of 300 images in 3 groups."""
    answer = post_csv(client, HEADER + "".join(f"{n},P,https://a.example/{n}.jpg\n" for n in range(1, 301)))
    return str(answer.json()["request_id"])


@pytest.fixture
def finished(running: str, sql: Sql) -> str:
    """The same, settled: images 1 to 10 failed, 300 cancelled, the rest completed with 100 and 40 bytes each."""
    sql(
        """
        UPDATE image SET attempts = 1, isolated = true, claimed_by = gen_random_uuid(),
            state = CASE WHEN number <= 10 THEN 'failed' WHEN number = 300 THEN 'cancelled' ELSE 'completed' END,
            error_code = CASE WHEN number <= 10 OR number = 300 THEN 'http_status' END,
            rendition_sha256 = CASE WHEN number BETWEEN 11 AND 299 THEN 'x' END
        """
    )
    sql(
        """
        UPDATE image_group g SET state = 'settled', dispatch_no = 3, completed = s.completed, failed = s.failed,
            cancelled = s.cancelled, source_bytes = 100 * s.completed, rendition_bytes = 40 * s.completed
        FROM (VALUES (1, 118, 10, 0), (2, 128, 0, 0), (3, 43, 0, 1)) AS s (number, completed, failed, cancelled)
        WHERE g.number = s.number
        """
    )
    sql(
        """
        UPDATE processing_request SET status = 'completed', started_at = now(), finished_at = now(), dispatch_at = NULL,
            completed = 289, failed = 10, cancelled = 1, source_bytes = 28900, rendition_bytes = 11560,
            stop_reason = 'expired', open_groups = 0
        """
    )
    return running


def test_retry_runs_failed_and_cancelled_images_again(
    client: httpx.Client, finished: str, sql: Sql, sent: Sent
) -> None:
    answer = client.post(f"/v1/requests/{finished}/retry")
    body = answer.json()
    assert answer.status_code == 202
    assert (body["run"], body["status"], body["outcome"]) == (2, "pending", None)
    assert body["images"] == {"total": 300, "pending": 11, "completed": 289, "failed": 0, "cancelled": 0}
    assert (body["bytes"]["source"], body["bytes"]["rendition"]) == (28900, 11560)
    assert {"request_id": finished} in sent("dispatch")


def test_retry_writes_no_image(client: httpx.Client, finished: str, sql: Sql) -> None:
    """A million of them would hold the request for seconds; dispatch reopens them by groups."""
    rows = "SELECT number, ctid::text, xmin::text FROM image ORDER BY number"
    before = sql(rows)
    assert client.post(f"/v1/requests/{finished}/retry").status_code == 202
    assert sql(rows) == before


def test_retry_reopens_only_the_groups_it_needs(client: httpx.Client, finished: str, sql: Sql) -> None:
    client.post(f"/v1/requests/{finished}/retry")
    groups = sql("SELECT number, state, completed, failed, cancelled, source_bytes FROM image_group ORDER BY number")
    assert [tuple(group.values()) for group in groups] == [
        (1, "waiting", 118, 0, 0, 11800),
        (2, "settled", 128, 0, 0, 12800),
        (3, "waiting", 43, 0, 0, 4300),
    ]
    [request] = sql(
        "SELECT completed, failed, cancelled, open_groups, source_bytes, rendition_bytes FROM processing_request"
    )
    assert tuple(request.values()) == (289, 0, 0, 2, 28900, 11560)
    numbers = sql("SELECT dispatch_no FROM image_group ORDER BY number")
    assert [row["dispatch_no"] for row in numbers] == [-3, 3, -3], "what the groups completed counts on the request"


def test_retry_begins_a_new_deadline(client: httpx.Client, finished: str, sql: Sql) -> None:
    sql("UPDATE processing_request SET deadline_at = now() - interval '1 h'")
    client.post(f"/v1/requests/{finished}/retry")
    [request] = sql(
        """
        SELECT deadline_at > now() + interval '23 h', stop_reason, started_at, finished_at, dispatch_at <= now() AS due,
               previous_mark_settled
        FROM processing_request
        """
    )
    assert tuple(request.values()) == (True, None, None, None, True, 289)


@pytest.mark.parametrize(
    ("method", "state", "change", "refusal", "detail"),
    [
        ("retry", "running", None, "not_terminal", "still running"),
        ("retry", "finished", "completed = 300, failed = 0, cancelled = 0", "nothing_to_retry", "failed"),
        ("retry", "finished", "run = 2, status = 'pending'", "not_terminal", "still running"),
        ("cancel", "finished", None, "terminal", "already finished"),
        ("", "running", None, "not_terminal", "cancel it first"),
        ("", "running", "stop_reason = 'cancelled'", "not_terminal", "being cancelled"),
    ],
)
def test_a_change_that_does_not_fit_the_state_is_409(
    client: httpx.Client, request: pytest.FixtureRequest, sql: Sql,
    method: str, state: str, change: str | None, refusal: str, detail: str,
) -> None:  # fmt: skip
    path = f"/v1/requests/{request.getfixturevalue(state)}"
    if change:
        sql(f"UPDATE processing_request SET {change}")
    refused = client.post(f"{path}/{method}") if method else client.delete(path)
    assert problem(refused) == (409, refusal)
    assert detail in refused.json()["detail"]


def test_cancel_stops_the_request_and_has_it_closed(client: httpx.Client, running: str, sql: Sql, sent: Sent) -> None:
    answer = client.post(f"/v1/requests/{running}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert sql("SELECT stop_reason, dispatch_at FROM processing_request") == [
        {"stop_reason": "cancelled", "dispatch_at": None}
    ]
    assert sent("notify") == [{"request_id": running}]


def test_cancel_twice_is_the_same_as_once(client: httpx.Client, running: str) -> None:
    assert client.post(f"/v1/requests/{running}/cancel").status_code == 202
    assert client.post(f"/v1/requests/{running}/cancel").status_code == 202


def test_delete_removes_rows_and_files(client: httpx.Client, finished: str, sql: Sql, settings: IngestSettings) -> None:
    blobs, key = connect(settings.blob_url), source_key(UUID(finished), "a" * 64)
    blobs.put(key, b"picture")
    add_delivery(sql, finished)
    assert client.delete(f"/v1/requests/{finished}").status_code == 204
    for table in ("processing_request", "product", "image", "image_group", "event", "delivery"):
        assert sql(f"SELECT count(*) AS n FROM {table}") == [{"n": 0}]
    assert not blobs.exists(key)
    assert client.delete(f"/v1/requests/{finished}").status_code == 404


def test_a_large_request_is_gone_at_once_and_its_rows_and_files_are_left_to_housekeeping(
    client: httpx.Client, finished: str, sql: Sql, settings: IngestSettings
) -> None:
    blobs, key = connect(settings.blob_url), source_key(UUID(finished), "a" * 64)
    blobs.put(key, b"picture")
    sql("UPDATE processing_request SET images = 1001")
    assert client.delete(f"/v1/requests/{finished}").status_code == 204
    assert problem(client.delete(f"/v1/requests/{finished}")) == (404, "not_found")
    assert sql("SELECT next_number, last_number FROM erasure") == [{"next_number": 1, "last_number": 1001}]
    assert sql("SELECT count(*) AS n FROM image") == [{"n": 300}]
    assert blobs.exists(key)


@pytest.mark.parametrize("status", ["pending", "delivered", "stopped", "exhausted"])
def test_redeliver_makes_a_delivery_due_in_any_state(
    client: httpx.Client, finished: str, sql: Sql, sent: Sent, status: str
) -> None:
    delivery = add_delivery(sql, finished, status=status)
    answer = client.post(f"/v1/deliveries/{delivery}/redeliver")
    assert (answer.status_code, answer.json()["status"], answer.json()["id"]) == (202, "pending", delivery)
    assert sql("SELECT status, attempt, first_attempt, next_attempt_at <= now() AS due FROM delivery") == [
        {"status": "pending", "attempt": 10, "first_attempt": 11, "due": True}
    ]
    assert sent("deliver") == [{"delivery_id": delivery}]


def add_delivery(sql: Sql, request_id: str, *, status: str = "exhausted") -> str:
    names = {"event": uuid4(), "delivery": uuid4(), "request": request_id, "status": status}
    sql(
        """
        WITH event AS (
            INSERT INTO event (id, request_id, run, type, body)
            VALUES (%(event)s, %(request)s, 1, 'request.completed', '{}')
        )
        INSERT INTO delivery (id, event_id, request_id, url, status, attempt)
        VALUES (%(delivery)s, %(event)s, %(request)s, 'https://shop.example/hook', %(status)s, 10)
        """,
        **names,
    )
    return str(names["delivery"])


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_an_id_that_is_malformed_unknown_or_of_another_account_is_404(
    client: httpx.Client, finished: str, sql: Sql, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    target = add_delivery(sql, finished) if "deliveries" in path else finished
    monkeypatch.setattr(routes, "account_of", lambda _: uuid4())
    for name in (target, uuid4(), "nonsense", "0198", "00000000-0000-7000-8000-00000000000", "%00"):
        assert problem(client.request(method, path.format(name))) == (404, "not_found"), name
