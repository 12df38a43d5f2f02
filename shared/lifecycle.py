"""The states of a request, a group, an image and a delivery, and the numbers and rules that all services share. Pure.

Triggers of the database (deploy/migrations) keep terminal states terminal; docs/architecture.md draws the moves.
"""

from enum import StrEnum


class RequestStatus(StrEnum):
    PENDING = "pending"  # accepted, nothing dispatched
    PROCESSING = "processing"
    COMPLETED = "completed"  # all settled, at least one rendition
    FAILED = "failed"  # all settled, no rendition
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self not in (RequestStatus.PENDING, RequestStatus.PROCESSING)


class StopReason(StrEnum):
    """Why a request ends before its images do."""

    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Outcome(StrEnum):
    SUCCESS = "success"  # no image failed
    PARTIAL = "partial"
    NONE = "none"


class GroupState(StrEnum):
    WAITING = "waiting"
    DISPATCHED = "dispatched"
    SETTLED = "settled"


class ImageState(StrEnum):
    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    STOPPED = "stopped"  # the receiver answered 410, or its URL was refused
    EXHAUSTED = "exhausted"


IMAGES_PER_GROUP = 128
IMAGES_PER_BATCH = 16
QUICK_IMAGES = 64
"""The first images of each request go before those of others, in a bounded share of each worker."""
WINDOW = 512
"""Images of one request that may be dispatched and unsettled at once."""
MAX_ATTEMPTS = 5
OF_EARLIER_RUN = "state IN ('failed', 'cancelled') AND run < %(run)s"
"""The SQL predicate of an image that `retry` has made pending and that is not written yet: dispatch does, by groups."""
DUE = f"state = 'pending' AND not_before <= now() AND attempts < {MAX_ATTEMPTS}"
"""The SQL predicate of an image that may be dispatched and claimed now."""


def group_of(image: int) -> int:
    """The number of the group that holds image `image`; both count from 1."""
    return (image - 1) // IMAGES_PER_GROUP + 1


def images_of(group: int) -> tuple[int, int]:
    """First and last image number of a group (the last group of a request may hold fewer)."""
    return (group - 1) * IMAGES_PER_GROUP + 1, group * IMAGES_PER_GROUP


def final_status(*, stop: StopReason | None, completed: int) -> RequestStatus:
    """What a request becomes once every image is settled."""
    if stop is StopReason.CANCELLED:
        return RequestStatus.CANCELLED
    return RequestStatus.COMPLETED if completed else RequestStatus.FAILED


def outcome(status: RequestStatus, *, completed: int, failed: int) -> Outcome | None:
    """None until the request is terminal. A cancelled request never reads `success`."""
    if not status.terminal:
        return None
    if completed == 0:
        return Outcome.NONE
    return Outcome.PARTIAL if failed or status is RequestStatus.CANCELLED else Outcome.SUCCESS
