"""Prometheus metrics of the messages that a process works on, or could not send."""

import time
from threading import local
from typing import Any

from dramatiq.middleware import Middleware
from prometheus_client import Counter, Gauge, Histogram

from shared.log import get_logger

log = get_logger(__name__)
LOGGED_SECONDS = 60.0
"""While Valkey is away or full, one line in so many seconds; the counter has every message."""
MESSAGES = Counter(
    "halftone_messages_total", "Messages that were worked on, `done` or ended by an `error`.", ["actor", "outcome"]
)
SECONDS = Histogram(
    "halftone_message_seconds",
    "Time spent on a message: a batch of images that is fetched, or compressed.",
    ["actor"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 2, 5, 10, 20, 30, 60, 120),
)
UNSENT = Counter("halftone_messages_unsent_total", "Messages that Redis did not take.", ["actor"])
IN_HAND = Gauge("halftone_messages_in_hand", "Messages being worked on now.", ["actor"])


class Metrics(Middleware):
    """Counts and times every message; an exception counts as `error`."""

    def __init__(self) -> None:
        self._begun = local()

    def before_process_message(self, broker: Any, message: Any) -> None:
        del broker
        self._begun.at = time.perf_counter()
        IN_HAND.labels(message.actor_name).inc()

    def after_process_message(
        self, broker: Any, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        del broker, result
        IN_HAND.labels(message.actor_name).dec()
        MESSAGES.labels(message.actor_name, "error" if exception else "done").inc()
        SECONDS.labels(message.actor_name).observe(time.perf_counter() - self._begun.at)


_logged_at = float("-inf")


def not_sent(actor: str, error: BaseException) -> None:
    """Count a message that Valkey did not take, and log the first of many."""
    global _logged_at  # noqa: PLW0603 - of the process, as the counter is
    UNSENT.labels(actor).inc()
    if time.monotonic() >= _logged_at + LOGGED_SECONDS:
        _logged_at = time.monotonic()
        log.warning("message_not_sent", message=actor, error=type(error).__name__)
