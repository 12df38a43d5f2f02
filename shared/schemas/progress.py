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

    The marks come last: they move with the clock, and only `eta_seconds` and `images_per_second` depend on them.
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


def images_per_second(request: AnyRequest, settled: int, *, now: datetime) -> float | None:
    """Images settled a second, over about the last minute or since the start of the run; None while that is unknown.

    It is known from the first settled image on, so that a request of a few seconds has one too.
    """
    since, done = _mark(request, now=now)
    if RequestStatus(request.status).terminal or since is None or settled <= done or now - since > LONGEST:
        return None
    return (settled - done) / max((now - since).total_seconds(), 0.001)


def eta_seconds(request: AnyRequest, settled: int, *, rate: float | None) -> int | None:
    """Seconds until all images are settled at that many a second; None while the rate is unknown."""
    return None if rate is None else round((request.images - settled) / rate)


def shown(rate: float | None) -> float | None:
    """A rate with three digits: more would say more than marks so far apart know."""
    return None if rate is None else float(f"{rate:.3g}")


def _mark(request: AnyRequest, *, now: datetime) -> tuple[datetime | None, int]:
    """The mark to count from: the younger once it is a minute old, because marks stay when no image is settled."""
    if request.mark_at is not None and now - request.mark_at >= MINUTE:
        return request.mark_at, request.mark_settled
    return request.previous_mark_at or request.started_at, request.previous_mark_settled
