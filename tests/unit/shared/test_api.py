"""The JSON of a request, and how long the rest of it takes."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from shared.schemas.api import Counts, counts_of, request_view, timestamp
from shared.schemas.tables import ProcessingRequest

NOW = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
ID = UUID("01890000-0000-7000-8000-000000000001")
URL = "https://shop.example"


def request(**values: Any) -> ProcessingRequest:
    defaults: dict[str, Any] = {
        "id": ID,
        "status": "processing",
        "products": 1000,
        "images": 3000,
        "created_at": NOW - timedelta(seconds=90),
        "started_at": NOW - timedelta(seconds=60),
        "deadline_at": NOW + timedelta(days=1),
    }
    return ProcessingRequest(**defaults | values)


def view(counts: Counts, **values: Any) -> dict[str, Any]:
    return request_view(request(**values), counts, public_url=URL, now=NOW)


def test_a_request_reads_as_the_contract_says() -> None:
    counts = Counts(completed=1255, failed=5, source_bytes=412_345_678, rendition_bytes=151_234_567)
    assert view(counts, webhook_url="https://shop.example/hook") == {
        "request_id": str(ID),
        "run": 1,
        "status": "processing",
        "outcome": None,
        "progress": 0.42,
        "products": 1000,
        "images": {"total": 3000, "pending": 1740, "completed": 1255, "failed": 5, "cancelled": 0},
        "bytes": {"source": 412_345_678, "rendition": 151_234_567, "saved": 261_111_111, "saved_ratio": 0.633},
        "options": {"quality": 50, "mode": "absolute", "format": "keep", "max_side": None},
        "webhook_url": "https://shop.example/hook",
        "created_at": "2026-03-01T11:58:30.123Z",
        "started_at": "2026-03-01T11:59:00.123Z",
        "finished_at": None,
        "eta_seconds": 83,
        "images_per_second": 21.0,
        "links": {
            "self": f"{URL}/v1/requests/{ID}",
            "products": f"{URL}/v1/requests/{ID}/products",
            "images": f"{URL}/v1/requests/{ID}/images",
            "rejected": f"{URL}/v1/requests/{ID}/rejected",
            "report": f"{URL}/v1/requests/{ID}/report",
            "output_csv": f"{URL}/v1/requests/{ID}/output.csv",
            "outputs_zip": f"{URL}/v1/requests/{ID}/outputs.zip",
            "events": f"{URL}/v1/requests/{ID}/events",
            "deliveries": f"{URL}/v1/requests/{ID}/deliveries",
        },
    }


def test_progress_is_one_only_when_the_request_is_terminal() -> None:
    assert view(Counts(completed=2_999_999), images=3_000_000)["progress"] == 0.9999
    assert view(Counts(completed=3000))["progress"] == 1.0
    assert view(Counts(completed=1), status="cancelled")["progress"] == 1.0


def test_nothing_fetched_has_no_ratio() -> None:
    assert view(Counts(failed=3))["bytes"] == {"source": 0, "rendition": 0, "saved": 0, "saved_ratio": None}


@pytest.mark.parametrize(("status", "result"), [("completed", "partial"), ("cancelled", "partial")])
def test_a_finished_request_has_an_outcome_and_nothing_to_wait_for(status: str, result: str) -> None:
    read = view(Counts(completed=2999, failed=1), status=status, finished_at=NOW)
    assert (read["outcome"], read["finished_at"]) == (result, "2026-03-01T12:00:00.123Z")
    assert (read["eta_seconds"], read["images_per_second"]) == (None, None)


def marks(*, ago: float, settled: int) -> dict[str, Any]:
    """Two marks a minute apart, the younger so many seconds old; they stay when no group gets settled any more."""
    younger = NOW - timedelta(seconds=ago)
    older = {"previous_mark_at": younger - timedelta(minutes=1), "previous_mark_settled": 0}
    return older | {"mark_at": younger, "mark_settled": settled}


HALF_A_MINUTE_AGO = {"previous_mark_at": NOW - timedelta(seconds=30), "previous_mark_settled": 1000}
WAITED_AN_HOUR = {"previous_mark_at": NOW - timedelta(hours=1), "mark_at": NOW, "mark_settled": 200}


@pytest.mark.parametrize(
    ("values", "settled", "seconds", "rate"),
    [
        pytest.param(HALF_A_MINUTE_AGO, 1300, 170, 10.0, id="from the older mark"),
        pytest.param(marks(ago=59, settled=1000), 1190, 181, 10.0, id="older until a minute has passed"),
        pytest.param(marks(ago=60, settled=1000), 1300, 340, 5.0, id="then from the younger"),
        pytest.param(marks(ago=3600, settled=310), 310, None, None, id="marks of an hour ago say nothing"),
        pytest.param(marks(ago=3600, settled=310), 311, None, None, id="marks of an hour ago and one image more"),
        pytest.param(WAITED_AN_HOUR, 200, None, None, id="work goes on after an hour"),
        pytest.param({"previous_mark_settled": 2900}, 2950, 60, 0.833, id="a new run does not count earlier images"),
        pytest.param({"started_at": None}, 100, None, None, id="not started"),
        pytest.param({"previous_mark_settled": 100}, 100, None, None, id="no image settled"),
        pytest.param({"previous_mark_settled": 200}, 100, None, None, id="fewer images settled"),
        pytest.param({"started_at": NOW}, 1, 3, 1000.0, id="no division by zero"),
        pytest.param({"started_at": NOW - timedelta(seconds=2)}, 1, 5998, 0.5, id="known from the first image on"),
        pytest.param({"started_at": NOW - timedelta(seconds=3)}, 2000, 2, 667.0, id="three digits"),
        pytest.param({"started_at": NOW - timedelta(seconds=500)}, 7, 213_786, 0.014, id="less than one a second"),
    ],
)
def test_the_rest_is_estimated_by_the_rate_of_about_the_last_minute(
    values: dict[str, Any], settled: int, seconds: int | None, rate: float | None
) -> None:
    read = view(Counts(completed=settled), **values)
    assert (read["eta_seconds"], read["images_per_second"]) == (seconds, rate)


def test_a_time_is_written_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    assert timestamp(datetime(2026, 1, 1, 0, 30, tzinfo=berlin)) == "2025-12-31T23:30:00.000Z"
    assert timestamp(None) is None


def test_the_counts_of_a_finished_request_are_its_own() -> None:
    counts = counts_of(request(completed=1, failed=2, cancelled=3, source_bytes=4, rendition_bytes=5))
    assert counts == Counts(completed=1, failed=2, cancelled=3, source_bytes=4, rendition_bytes=5)
    assert counts.settled == 6
