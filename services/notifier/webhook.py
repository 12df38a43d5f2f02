"""What Standard Webhooks 1.0 asks of a sender: signed headers, a retry schedule, and when to stop. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from standardwebhooks import Webhook

from shared.lifecycle import DeliveryStatus

RETRY_DELAYS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before attempt 2, 3, … 10: the schedule of Standard Webhooks, its first retry after five seconds."""
RETRY_AFTER_STATUSES = frozenset({429, 502, 503, 504})
GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """The result of one POST; `error` is None if it succeeded. `retry_after`: seconds the receiver asked for.

    `stops`: no other attempt could succeed.
    """

    status_code: int | None = None
    error: str | None = None
    response_excerpt: str = ""
    retry_after: float | None = None
    stops: bool = False


def next_step(
    result: AttemptResult, *, attempt: int, random: Callable[[], float]
) -> tuple[DeliveryStatus, float | None]:
    """The delivery's status after this attempt (numbered from 1), and the seconds until the next one if it is pending.

    The delay is the schedule's and up to a tenth more by chance, never less than the receiver's `Retry-After`.
    """
    if result.error is None:
        return DeliveryStatus.DELIVERED, None
    if result.stops or result.status_code == GONE:
        return DeliveryStatus.STOPPED, None
    if attempt > len(RETRY_DELAYS):
        return DeliveryStatus.EXHAUSTED, None
    delay = RETRY_DELAYS[attempt - 1] * (1 + random() / 10)
    return DeliveryStatus.PENDING, max(delay, min(result.retry_after or 0.0, RETRY_DELAYS[-1]))


def signed_headers(event_id: str, body: str, *, secrets: Sequence[str], now: datetime) -> dict[str, str]:
    """`secrets`: one, or two during a rotation; the receiver needs to know any one of them. `now` is in UTC."""
    signatures = [Webhook(secret).sign(msg_id=event_id, timestamp=now, data=body) for secret in secrets]
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
