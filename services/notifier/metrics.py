"""Gauges of how much is open and how late it is. Every notifier shows the same numbers."""

from prometheus_client import Gauge
from sqlmodel import Session

from shared.db import execute

REQUESTS = Gauge("halftone_requests_open", "Requests that are not finished.")
GROUPS = Gauge("halftone_groups_due", "Groups that are due to be reconciled.")
GROUPS_LATE = Gauge("halftone_groups_oldest_due_seconds", "For how long the oldest group has been due.")
DELIVERIES = Gauge("halftone_deliveries", "Deliveries that have not succeeded, pending or exhausted.", ["status"])
DELIVERIES_LATE = Gauge("halftone_deliveries_oldest_due_seconds", "For how long the oldest delivery has been due.")


def measure(session: Session) -> None:
    """One statement; each part reads a partial index of just the rows it counts."""
    measured = execute(
        session,
        """
        SELECT requests, groups, pending, exhausted,
               coalesce(extract(epoch FROM now() - reconcile_at), 0)::float8 AS groups_late,
               greatest(0, extract(epoch FROM now() - next_attempt_at))::float8 AS deliveries_late
        FROM (SELECT count(*) AS requests FROM processing_request WHERE finished_at IS NULL),
             (SELECT count(*) AS groups, min(reconcile_at) AS reconcile_at
              FROM image_group WHERE reconcile_at <= now()),
             (SELECT count(*) AS pending, min(next_attempt_at) AS next_attempt_at
              FROM delivery WHERE status = 'pending'),
             (SELECT count(*) AS exhausted FROM delivery WHERE status = 'exhausted')
        """,
    )[0]
    REQUESTS.set(measured["requests"])
    GROUPS.set(measured["groups"])
    GROUPS_LATE.set(measured["groups_late"])
    for status in ("pending", "exhausted"):
        DELIVERIES.labels(status).set(measured[status])
    DELIVERIES_LATE.set(measured["deliveries_late"])
