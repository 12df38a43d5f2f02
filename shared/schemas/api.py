"""The request as clients see it: in the 202, in `GET`, and in the webhook's body. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.lifecycle import RequestStatus, outcome
from shared.schemas.tables import ProcessingRequest

MINUTE = timedelta(minutes=1)
LONGEST = timedelta(minutes=10)
"""What was settled in more than this says nothing about the last minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Settled images of a request and their bytes: its own counters plus those of its open groups."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    source_bytes: int = 0
    rendition_bytes: int = 0

    @property
    def settled(self) -> int:
        return self.completed + self.failed + self.cancelled


def counts_of(request: ProcessingRequest) -> Counts:
    """The request's own counters: all there is once no group is open."""
    return Counts(
        completed=request.completed,
        failed=request.failed,
        cancelled=request.cancelled,
        source_bytes=request.source_bytes,
        rendition_bytes=request.rendition_bytes,
    )


def request_view(request: ProcessingRequest, counts: Counts, *, public_url: str, now: datetime) -> dict[str, Any]:
    """The request's JSON (DESIGN section 3)."""
    status = RequestStatus(request.status)
    result = outcome(status, completed=counts.completed, failed=counts.failed)
    return {
        "request_id": str(request.id),
        "run": request.run,
        "status": status.value,
        "outcome": result.value if result else None,
        "progress": _progress(request, counts, status),
        "products": request.products,
        "images": {
            "total": request.images,
            "pending": request.images - counts.settled,
            "completed": counts.completed,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
        },
        "bytes": _bytes(counts),
        "options": {
            "quality": request.quality,
            "mode": request.mode,
            "format": request.format,
            "max_side": request.max_side,
        },
        "webhook_url": request.webhook_url,
        "created_at": timestamp(request.created_at),
        "started_at": timestamp(request.started_at),
        "finished_at": timestamp(request.finished_at),
        "eta_seconds": None if status.terminal else eta_seconds(request, counts, now=now),
        "links": _links(f"{public_url}/v1/requests/{request.id}"),
    }


def timestamp(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds and `Z`."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def eta_seconds(request: ProcessingRequest, counts: Counts, *, now: datetime) -> int | None:
    """Seconds until all is settled at the rate of the last minute or so; None while that is not known."""
    since, done = _since(request, now=now)
    if since is None or counts.settled <= done or now - since > LONGEST:
        return None
    elapsed = max((now - since).total_seconds(), 0.001)
    remaining = request.images - counts.settled
    return round(remaining * elapsed / (counts.settled - done))


def _since(request: ProcessingRequest, *, now: datetime) -> tuple[datetime | None, int]:
    """The mark to count from: the younger one once it is a minute old, for marks stay where nothing gets settled."""
    if request.mark_at is not None and now - request.mark_at >= MINUTE:
        return request.mark_at, request.mark_settled
    return request.previous_mark_at or request.started_at, request.previous_mark_settled


def _progress(request: ProcessingRequest, counts: Counts, status: RequestStatus) -> float:
    """Rounded down, so that 1.0 means all of them and nothing less."""
    if status.terminal:
        return 1.0
    return int(counts.settled / max(request.images, 1) * 10_000) / 10_000


def _bytes(counts: Counts) -> dict[str, int | float | None]:
    saved = counts.source_bytes - counts.rendition_bytes
    ratio = round(saved / counts.source_bytes, 3) if counts.source_bytes else None
    return {"source": counts.source_bytes, "rendition": counts.rendition_bytes, "saved": saved, "saved_ratio": ratio}


def _links(self_url: str) -> dict[str, str]:
    parts = {
        "products": "/products",
        "images": "/images",
        "output_csv": "/output.csv",
        "outputs_zip": "/outputs.zip",
        "events": "/events",
        "deliveries": "/deliveries",
    }
    return {"self": self_url} | {name: self_url + part for name, part in parts.items()}
