"""Views: what clients see of rows."""

from datetime import UTC, datetime, timedelta

import pytest

from services.status.views import entity_tag, matches, older_view
from shared.ids import uuid7
from shared.schemas import api
from shared.schemas.tables import ProcessingRequest

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = uuid7()


def view(*, completed: int = 1, status: str = "processing", seconds: float = 10) -> api.Request:
    request = ProcessingRequest(
        id=ID, status=status, products=1, images=4, created_at=NOW, started_at=NOW, deadline_at=NOW
    )
    now = NOW + timedelta(seconds=seconds)
    return api.Request.of(request, api.Counts(completed=completed), public_url="https://shop.example", now=now)


def test_the_clock_alone_does_not_change_the_entity_tag() -> None:
    assert view(seconds=10).eta_seconds != view(seconds=20).eta_seconds
    assert entity_tag(view(seconds=10)) == entity_tag(view(seconds=20))


def test_progress_changes_the_entity_tag() -> None:
    assert entity_tag(view(completed=1)) != entity_tag(view(completed=2))


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, False), ("*", True), ('W/"a"', True), ('"a"', True), ('"b", W/"a"', True), ('"b"', False), ("", False)],
)
def test_entity_tags_compare_weakly(header: str | None, expected: bool) -> None:  # noqa: FBT001
    assert matches('W/"a"', header) is expected


def test_older_contracts_read_cancelled_as_failed() -> None:
    assert older_view(view(status="cancelled")).model_dump(mode="json") == {
        "request_id": str(ID),
        "status": "failed",
        "progress": 1.0,
        "total_images": 4,
        "processed_images": 1,
        "output_csv_url": f"https://shop.example/v1/requests/{ID}/output.csv",
    }
