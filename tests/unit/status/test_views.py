"""Views: what clients see of rows."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.status.views import MARKS, entity_tag, matches, older_view
from shared.ids import uuid7
from shared.schemas import api
from shared.schemas.api import Counts
from shared.schemas.progress import RequestRow
from tests.unit.status.rows import NOW, request_row

ID = uuid7()


OTHERS: dict[str, Any] = {
    "id": uuid7(),
    "account_id": uuid7(),
    "run": 2,
    "status": "pending",
    "quality": 51,
    "mode": "relative",
    "format": "jpeg",
    "max_side": 100,
    "webhook_url": "https://shop.example/hook",
    "products": 2,
    "images": 5,
    "created_at": NOW - timedelta(seconds=1),
    "started_at": None,
    "finished_at": NOW,
    "mark_at": NOW,
    "mark_settled": 1,
    "previous_mark_at": NOW,
    "previous_mark_settled": 1,
}
"""Another value of each column."""


@pytest.mark.parametrize("column", RequestRow._fields)
def test_the_entity_tag_changes_with_the_json_but_not_with_the_clock(column: str) -> None:
    row = request_row(id=ID)
    changed = row._replace(**{column: OTHERS[column]})

    same_json = _json(row) == _json(changed)

    same_tag = _tag(row) == _tag(changed)
    assert same_tag == (same_json and column != "account_id")
    assert same_json == (column in {"account_id", *RequestRow._fields[MARKS:]})


@pytest.mark.parametrize("count", Counts.__dataclass_fields__)
def test_every_count_changes_the_entity_tag(count: str) -> None:
    row = request_row(id=ID)
    assert _tag(row) != _tag(row, Counts(**{count: 1}))


def test_the_entity_tag_depends_on_the_address_in_the_links() -> None:
    row = request_row(id=ID)
    assert entity_tag(row, Counts(), public_url="https://a.example") != _tag(row)


def test_every_process_makes_the_same_entity_tag() -> None:
    """Clients come back to another replica, or after a restart. A new field of the answer may change this."""
    row = request_row(id=UUID("01890000-0000-7000-8000-000000000001"))
    assert _tag(row) == 'W/"351e28f0666882d7088e7b44"'


def _tag(row: RequestRow, counts: Counts | None = None) -> str:
    return entity_tag(row, counts or Counts(), public_url="https://shop.example")


def _json(row: RequestRow) -> dict[str, Any]:
    """Without `eta_seconds` and `images_per_second`, which change with the clock alone."""
    shown = api.Request.of(row, Counts(), public_url="https://shop.example", now=NOW + timedelta(seconds=10))
    return shown.model_dump(exclude={"eta_seconds", "images_per_second"})


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, False), ("*", True), ('W/"a"', True), ('"a"', True), ('"b", W/"a"', True), ('"b"', False), ("", False)],
)
def test_entity_tags_compare_weakly(header: str | None, expected: bool) -> None:  # noqa: FBT001
    assert matches('W/"a"', header) is expected


def test_older_contracts_read_cancelled_as_failed() -> None:
    row = request_row(id=ID, status="cancelled")
    request = api.Request.of(row, Counts(completed=1), public_url="https://shop.example", now=NOW)
    assert older_view(request).model_dump(mode="json") == {
        "request_id": str(ID),
        "status": "failed",
        "progress": 1.0,
        "total_images": 4,
        "processed_images": 1,
        "output_csv_url": f"https://shop.example/v1/requests/{ID}/output.csv",
    }
