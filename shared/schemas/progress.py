"""How far a request is, and how long the rest may take. Pure."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from shared.lifecycle import RequestStatus
from shared.schemas.tables import ProcessingRequest

MINUTE = timedelta(minutes=1)
LONGEST = timedelta(minutes=10)
"""A mark older than this says nothing about the rate of the last minute."""


class RequestRow(NamedTuple):
    """The columns that the JSON of a request is made from, except its counters: all that a read needs.

    The marks come last: they move with the clock, and nothing but `eta_seconds` depends on them.
    """

    id: UUID
    account_id: UUID
    run: int
    status: str
    quality: int
    mode: str
    format: str
    max_side: int | None
    webhook_url: str | None
    products: int
    images: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    mark_at: datetime | None
    mark_settled: int
    previous_mark_at: datetime | None
    previous_mark_settled: int


AnyRequest = ProcessingRequest | RequestRow


def progress(request: AnyRequest, settled: int) -> float:
    """Rounded down, so that 1.0 means every image."""
    if RequestStatus(request.status).terminal:
        return 1.0
    return int(settled / max(request.images, 1) * 10_000) / 10_000


def eta_seconds(request: AnyRequest, settled: int, *, now: datetime) -> int | None:
    """Seconds until all images are settled at the rate of about the last minute; None while the rate is unknown."""
    since, done = _mark(request, now=now)
    if RequestStatus(request.status).terminal or since is None or settled <= done or now - since > LONGEST:
        return None
    elapsed = max((now - since).total_seconds(), 0.001)
    return round((request.images - settled) * elapsed / (settled - done))


def _mark(request: AnyRequest, *, now: datetime) -> tuple[datetime | None, int]:
    """The mark to count from: the younger once it is a minute old, because marks stay when no image is settled."""
    if request.mark_at is not None and now - request.mark_at >= MINUTE:
        return request.mark_at, request.mark_settled
    return request.previous_mark_at or request.started_at, request.previous_mark_settled
