"""Send a delivery once more, whatever became of it: same event, same body, same `webhook-id`."""

from typing import Any
from uuid import UUID

from sqlmodel import Session

from shared.db import execute
from shared.http.problems import not_found
from shared.schemas.api import timestamp


def redeliver(session: Session, account: UUID, delivery_id: UUID) -> dict[str, Any]:
    """Make the delivery due now; its schedule begins anew. Returns its JSON without the attempts.

    Raises:
        Problem: 404, also for another account's delivery.

    """
    rows = execute(
        session,
        """
        UPDATE delivery d
        SET status = 'pending', next_attempt_at = now(), enqueued_at = NULL, first_attempt = d.attempt + 1
        FROM processing_request r, event e
        WHERE d.id = %(id)s AND r.id = d.request_id AND r.account_id = %(account)s AND e.id = d.event_id
        RETURNING d.id::text, d.event_id::text, e.type, d.url, d.status, d.next_attempt_at
        """,
        {"id": delivery_id, "account": account},
    )
    if not rows:
        raise not_found()
    return rows[0] | {"next_attempt_at": timestamp(rows[0]["next_attempt_at"])}
