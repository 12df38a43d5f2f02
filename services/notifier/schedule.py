"""When a delivery is attempted again. Pure."""

from collections.abc import Callable

DELAYS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before attempt 2, 3, … 10: Standard Webhooks' schedule with its first retry after five seconds."""
RETRY_AFTER_STATUSES = frozenset({429, 502, 503, 504})
GONE = 410


def next_delay(*, attempt: int, random: Callable[[], float], retry_after: float | None = None) -> float | None:
    """Seconds until the attempt after number `attempt` (from 1), or None where the schedule is exhausted.

    Up to a tenth more by chance; never before a receiver's `Retry-After`, which counts for at most a day.
    """
    if attempt > len(DELAYS):
        return None
    delay = DELAYS[attempt - 1] * (1 + random() / 10)
    return max(delay, min(retry_after or 0.0, DELAYS[-1]))
