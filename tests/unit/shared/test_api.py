from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from shared.progress import eta_seconds
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
        "links": {
            "self": f"{URL}/v1/requests/{ID}",
            "products": f"{URL}/v1/requests/{ID}/products",
            "images": f"{URL}/v1/requests/{ID}/images",
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
    assert (read["outcome"], read["eta_seconds"], read["finished_at"]) == (result, None, "2026-03-01T12:00:00.123Z")


def test_the_rate_counts_from_the_older_mark() -> None:
    marks = {"previous_mark_at": NOW - timedelta(seconds=30), "previous_mark_settled": 1000}
    assert eta_seconds(request(**marks), 1300, now=NOW) == 170


def marks(younger: timedelta, *, settled: int) -> dict[str, Any]:
    """Marks as they stay when no group gets settled any more."""
    older = {"previous_mark_at": NOW - younger - timedelta(minutes=1), "previous_mark_settled": 0}
    return older | {"mark_at": NOW - younger, "mark_settled": settled}


def test_the_rate_counts_from_the_younger_mark_once_that_is_a_minute_old() -> None:
    of_first_mark = eta_seconds(request(**marks(timedelta(seconds=59), settled=1000)), 1190, now=NOW)
    of_second_mark = eta_seconds(request(**marks(timedelta(seconds=60), settled=1000)), 1300, now=NOW)

    assert of_first_mark == round(1810 * 119 / 1190)
    assert of_second_mark == round(1700 * 60 / 300)


@pytest.mark.parametrize("since_then", [0, 1])
def test_marks_of_an_hour_ago_say_nothing_about_the_last_minute(since_then: int) -> None:
    stale = request(images=100_000, **marks(timedelta(hours=1), settled=31_000))
    assert eta_seconds(stale, 31_000 + since_then, now=NOW) is None


def test_when_work_goes_on_after_an_hour_the_hour_does_not_count() -> None:
    waited = {"previous_mark_at": NOW - timedelta(hours=1), "mark_at": NOW, "mark_settled": 200}
    assert eta_seconds(request(**waited), 200, now=NOW) is None


def test_the_rate_of_a_new_run_does_not_count_what_was_settled_before_it() -> None:
    assert eta_seconds(request(previous_mark_settled=2900), 2950, now=NOW) == 60


@pytest.mark.parametrize(
    "values", [{"started_at": None}, {"previous_mark_settled": 100}, {"previous_mark_settled": 200}]
)
def test_without_a_rate_there_is_no_estimate(values: dict[str, Any]) -> None:
    assert eta_seconds(request(**values), 100, now=NOW) is None


def test_a_mark_of_this_very_moment_is_no_division_by_zero() -> None:
    assert eta_seconds(request(started_at=NOW), 1, now=NOW) == 3


def test_a_time_is_told_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    assert timestamp(datetime(2026, 1, 1, 0, 30, tzinfo=berlin)) == "2025-12-31T23:30:00.000Z"
    assert timestamp(None) is None


def test_the_counts_of_a_finished_request_are_its_own() -> None:
    counts = counts_of(request(completed=1, failed=2, cancelled=3, source_bytes=4, rendition_bytes=5))
    assert counts == Counts(completed=1, failed=2, cancelled=3, source_bytes=4, rendition_bytes=5)
    assert counts.settled == 6
