"""Rows as the status service reads them."""

from datetime import UTC, datetime
from typing import Any

from shared.ids import uuid7
from shared.schemas.accounts import DEFAULT_ACCOUNT
from shared.schemas.progress import RequestRow

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def request_row(**values: Any) -> RequestRow:
    """A request that is under way, unless `values` say otherwise."""
    row = RequestRow(
        id=uuid7(),
        account_id=DEFAULT_ACCOUNT,
        run=1,
        status="processing",
        quality=50,
        mode="absolute",
        format="keep",
        max_side=None,
        webhook_url=None,
        products=1,
        images=4,
        created_at=NOW,
        started_at=NOW,
        finished_at=None,
        mark_at=None,
        mark_settled=0,
        previous_mark_at=None,
        previous_mark_settled=0,
    )
    return row._replace(**values)
