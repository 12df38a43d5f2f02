"""The report of a request: figures over all of its images, made by the database."""

import itertools
import tracemalloc
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import timedelta
from threading import Event
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlmodel import Session

from services.ingest.changes import retry
from services.status import report
from services.status.app import create
from services.status.routes import LONG_READS
from services.status.settings import StatusSettings
from shared.db import Database, execute
from shared.ids import uuid7
from shared.schemas.accounts import DEFAULT_ACCOUNT
from shared.schemas.report_api import Report
from shared.schemas.tables import Image, ProcessingRequest
from tests.integration.status import seed
from tests.serving import serving
from tests.stack import until


def settled(seconds: float) -> dict[str, Any]:
    """When an image was settled, after the start of the run."""
    return {"settled_at": seed.NOW + timedelta(seconds=seconds)}


def at(host: str) -> str:
    return f"https://{host}/a.jpg"


def failed(request_id: UUID, number: int, code: str = "http_status", **values: Any) -> Image:
    return seed.pending(request_id, number, state="failed", attempts=1, error_code=code, **values)


def finished(database: Database, *images: Image, **values: Any) -> ProcessingRequest:
    """A request of 30 s with these images, which bear its id from now on."""
    ended = {"status": "completed", "finished_at": seed.NOW + timedelta(seconds=30), "images": len(images)}
    request = seed.request(**ended | values)
    for image in images:
        image.request_id = request.id
    seed.add(database, [request, *images])
    return request


def report_of(client: httpx.Client, request_id: UUID) -> dict[str, Any]:
    answer = client.get(f"/v1/requests/{request_id}/report").raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


NOBODY = uuid7()  # of images that `finished` gives to a request


def test_formats_and_failures_are_counted_and_added_up(database: Database, client: httpx.Client) -> None:
    png = {"source_format": "png", "source_bytes": 5000}
    request = finished(
        database,
        *(seed.completed(NOBODY, number) for number in (1, 2)),
        seed.completed(NOBODY, 3, kept_original=True),
        seed.completed(NOBODY, 4, **png),
        seed.completed(NOBODY, 5, rendition_format="webp", **png),
        *(failed(NOBODY, number) for number in (6, 7)),
        failed(NOBODY, 8, "timeout"),
        seed.pending(NOBODY, 9, error_code="dns_failure"),
        seed.pending(NOBODY, 10, state="cancelled", error_code="cancelled"),
    )

    found = report_of(client, request.id)

    assert found["formats"] == [
        {"source_format": a, "rendition_format": b, "images": n, "source_bytes": source, "rendition_bytes": rendition}
        for a, b, n, source, rendition in [
            ("jpeg", "jpeg", 3, 3000, 1200),
            ("png", "jpeg", 1, 5000, 400),
            ("png", "webp", 1, 5000, 400),
        ]
    ]
    assert found["kept_original"] == 1
    assert found["failures"] == [{"code": "http_status", "images": 2}, {"code": "timeout", "images": 1}]
    assert (found["request_id"], found["run"], found["status"]) == (str(request.id), 1, "completed")


@pytest.mark.parametrize(
    ("rendition_bytes", "range_number"),
    [(1000, 0), (951, 0), (950, 1), (901, 1), (900, 2), (400, 12), (50, 19), (1, 19), (0, 19), (3000, 0)],
)
def test_an_image_is_in_the_range_of_what_it_saves(
    database: Database, client: httpx.Client, rendition_bytes: int, range_number: int
) -> None:
    """Ranges begin with what they are named for; the last holds 1 too, the first images that grew."""
    request = finished(database, seed.completed(NOBODY, 1, rendition_bytes=rendition_bytes))

    ranges = report_of(client, request.id)["savings"]

    assert [number for number, one in enumerate(ranges) if one["images"]] == [range_number]
    assert ranges[1] | {"images": 0} == {"from": 0.05, "to": 0.1, "images": 0}
    assert len(ranges) == 20


def test_hosts_have_the_times_of_their_fetches_and_are_told_apart_as_they_are_spelt(
    database: Database, client: httpx.Client
) -> None:
    spelt = ["HTTP://A.example?x=1", "https://a.example#b"]
    urls = [at("a.example")] * 18 + spelt + [at("a.example:8443"), at("[::1]:80")]
    request = finished(
        database,
        *(seed.completed(NOBODY, n, url=url, fetch_ms=n * 10) for n, url in enumerate(urls, 1)),
        failed(NOBODY, 23, url=at("bad.example"), fetch_ms=7),
        failed(NOBODY, 24, url=at("bad.example")),
        seed.completed(NOBODY, 25, url=at("older.example")),
    )

    hosts = report_of(client, request.id)["hosts"]

    assert hosts["total"] == 5
    assert [tuple(host.values()) for host in hosts["slowest"]] == [
        ("[::1]:80", 1, 0, 220, 220),
        ("a.example:8443", 1, 0, 210, 210),
        ("a.example", 20, 0, 100, 190),
        ("bad.example", 2, 2, 7, 7),
    ]
    assert list(hosts["slowest"][0]) == ["host", "images", "failed", "median_ms", "p95_ms"]
    assert hosts["most_failing"] == [hosts["slowest"][-1]]


def test_ten_hosts_at_most_are_named(database: Database, client: httpx.Client) -> None:
    request = finished(
        database,
        *(failed(NOBODY, n, url=at(f"h{n // 100}{n}.example"), fetch_ms=n) for n in range(100, 112)),
        *(failed(NOBODY, n, url=at("worst.example")) for n in (1, 2)),
    )

    hosts = report_of(client, request.id)["hosts"]

    assert hosts["total"] == 13
    assert [host["p95_ms"] for host in hosts["slowest"]] == list(range(111, 101, -1))
    assert [host["failed"] for host in hosts["most_failing"]] == [2] + [1] * 9
    assert hosts["most_failing"][0]["median_ms"] is None


def test_the_throughput_of_the_run_has_an_interval_for_each_second_of_it(
    database: Database, client: httpx.Client
) -> None:
    request = finished(
        database,
        seed.completed(NOBODY, 1, **settled(0)),
        seed.completed(NOBODY, 2, **settled(2.999)),
        failed(NOBODY, 3, **settled(2)),
        failed(NOBODY, 4, **settled(30)),
        seed.completed(NOBODY, 5, **settled(-1)),  # clocks of databases are set too
        seed.completed(NOBODY, 6, **settled(99)),
        seed.completed(NOBODY, 7),
    )

    throughput = report_of(client, request.id)["throughput"]

    points = {n: (one["completed"], one["failed"]) for n, one in enumerate(throughput["points"])}
    assert (throughput["interval_seconds"], len(points)) == (1, 31)
    assert {n: counts for n, counts in points.items() if counts != (0, 0)} == {0: (2, 0), 2: (1, 1), 30: (1, 1)}
    assert throughput["points"][2]["at"] == "2026-03-01T12:00:02.000Z"


def test_images_that_were_settled_before_times_were_kept_are_in_all_other_figures(
    database: Database, client: httpx.Client
) -> None:
    request = finished(database, seed.completed(NOBODY, 1), failed(NOBODY, 2))

    found = report_of(client, request.id)

    assert found["hosts"]["slowest"] == []
    assert found["hosts"]["most_failing"] == [
        {"host": "images.example", "images": 2, "failed": 1, "median_ms": None, "p95_ms": None}
    ]
    assert {(one["completed"], one["failed"]) for one in found["throughput"]["points"]} == {(0, 0)}
    assert (found["formats"][0]["images"], found["failures"]) == (1, [{"code": "http_status", "images": 1}])


def test_a_request_that_has_not_started_has_an_empty_report(database: Database, client: httpx.Client) -> None:
    request = seed.request(status="pending", started_at=None)
    seed.add(database, [request, seed.pending(request.id, 1)])

    found = report_of(client, request.id)

    assert (found["formats"], found["failures"], found["kept_original"]) == ([], [], 0)
    assert found["hosts"] == {"total": 1, "slowest": [], "most_failing": []}
    assert found["throughput"] == {"interval_seconds": 1, "points": []}


def test_in_a_retry_what_failed_before_is_pending_and_only_the_new_run_has_points(
    database: Database, client: httpx.Client
) -> None:
    request = finished(
        database,
        seed.completed(NOBODY, 1, fetch_ms=10, **settled(1)),
        *(failed(NOBODY, number, fetch_ms=500, **settled(2)) for number in (2, 3)),
        completed=1,
        failed=2,
    )
    database.transact(lambda session: retry(session, DEFAULT_ACCOUNT, request.id, deadline=timedelta(days=1)))

    waiting = report_of(client, request.id)
    start = "UPDATE processing_request SET status = 'processing', started_at = now() - interval '8 s'"
    again = "UPDATE image SET state = 'completed', run = 2, fetch_ms = 40, settled_at = now() - interval '5.5 s',"
    again += " source_bytes = 10, rendition_bytes = 5, rendition_sha256 = 'x', source_format = 'gif' WHERE number = 2"
    database.transact(lambda session: (execute(session, start), execute(session, again)))
    found = report_of(client, request.id)

    assert (waiting["run"], waiting["status"], waiting["failures"]) == (2, "pending", [])
    assert waiting["throughput"]["points"] == []
    assert waiting["hosts"]["slowest"] == [
        {"host": "images.example", "images": 3, "failed": 0, "median_ms": 10, "p95_ms": 10}
    ]
    assert (found["failures"], sum(one["images"] for one in found["formats"])) == ([], 2)
    assert found["hosts"]["slowest"][0]["p95_ms"] == 40
    points = found["throughput"]["points"]
    assert [n for n, one in enumerate(points) if one["completed"]] == [2]
    assert len(points) >= 9


def test_the_report_of_an_ended_run_is_sent_once_until_a_retry(database: Database, client: httpx.Client) -> None:
    request = finished(database, seed.completed(NOBODY, 1), failed(NOBODY, 2), completed=1, failed=1)
    path = f"/v1/requests/{request.id}/report"
    first = client.get(path)
    tag = {"If-None-Match": first.headers["etag"]}

    unchanged = client.get(path, headers=tag)
    database.transact(lambda session: retry(session, DEFAULT_ACCOUNT, request.id, deadline=timedelta(days=1)))
    changed = client.get(path, headers=tag)

    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", first.headers["etag"])
    assert {first.headers["cache-control"], unchanged.headers["cache-control"]} == {"private, no-cache"}
    assert (changed.status_code, "etag" in changed.headers) == (200, False)


def test_the_report_of_another_account_or_of_none_is_not_found(database: Database, client: httpx.Client) -> None:
    other = uuid7()
    adding = "INSERT INTO account (id, name, signing_secret) VALUES (%(id)s, %(name)s, 'whsec_x')"
    database.transact(lambda session: execute(session, adding, {"id": other, "name": str(other)}))
    request = finished(database, seed.completed(NOBODY, 1), account_id=other)

    for request_id in (str(request.id), str(uuid7()), "no-id"):
        answer = client.get(f"/v1/requests/{request_id}/report")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_report_takes_no_more_memory_for_more_images(database: Database) -> None:
    """Of hosts of their own, with so little `work_mem` that the database sorts and groups in temporary files."""
    request = finished(database, seed.completed(NOBODY, 1))
    many = """
        INSERT INTO image (request_id, number, url, state, error_code, fetch_ms)
        SELECT %(id)s, n, 'https://h' || n || '.example/a.jpg', 'failed', 'timeout', n
        FROM generate_series(2, 20000) AS n
    """
    database.transact(lambda session: execute(session, many, {"id": request.id}))

    def read(session: Session) -> tuple[Report, int]:
        execute(session, "SET LOCAL work_mem = '64kB'")
        report.read(session, request.id)  # what is made once
        tracemalloc.start()
        try:
            return report.read(session, request.id), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    found, peak = database.transact(read)

    assert (found.hosts.total, len(found.hosts.slowest)) == (20_000, 10)
    assert peak < 1_000_000  # 20,000 rows would be more than 10


def test_two_reports_are_made_at_once_some_wait_and_others_are_told_to_come_again(
    settings: StatusSettings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, read, begun, refused = finished(database), report.read, list[UUID](), Event()

    def held(session: Session, request_id: UUID) -> Report:
        begun.append(request_id)
        assert refused.wait(20)
        return read(session, request_id)

    monkeypatch.setattr(report, "read", held)
    with serving(create(settings)) as address, ThreadPoolExecutor(10) as clients:
        url = f"{address}/v1/requests/{request.id}/report"
        answers = [clients.submit(httpx.get, url, timeout=30) for _ in range(10)]
        ended = [future.result() for future in itertools.islice(as_completed(answers), 4)]
        until(lambda: len(begun) == LONG_READS)
        refused.set()
        assert {future.result().status_code for future in answers if future.result() not in ended} == {200}

    told = {(answer.status_code, answer.json()["code"], answer.headers["retry-after"]) for answer in ended}
    assert told == {(429, "too_many_at_once", "5")}
