"""When a failed fetch is tried again. Pure."""

from collections.abc import Callable

from shared.errors import ImageError
from shared.lifecycle import MAX_ATTEMPTS

DELAYS = (5.0, 15.0, 60.0, 120.0)
"""Seconds after attempt 1, 2, 3, 4 (DESIGN section 5)."""
LONGEST_WAIT = 3600.0


def retry_delay(error: ImageError, *, attempts: int, random: Callable[[], float]) -> float | None:
    """Seconds to wait after attempt number `attempts` failed, or None where the failure is final.

    Up to a quarter more than the schedule, by chance, so that images that failed together do not return together;
    never before a `Retry-After` of the host. `random` gives 0..1.
    """
    if not error.transient or attempts >= MAX_ATTEMPTS:
        return None
    delay = DELAYS[attempts - 1] * (1 + random() / 4)
    return min(max(delay, error.retry_after or 0.0), LONGEST_WAIT)
