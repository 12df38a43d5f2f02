"""What workers tell each other in Valkey: who is alive, and which batches were begun.

All of it may be lost: then work costs more, and the database still decides.
"""

import time
from dataclasses import dataclass, field
from threading import Event
from typing import Any
from uuid import UUID

import redis
from prometheus_client import Gauge

from shared.ids import uuid7
from shared.lifecycle import IMAGES_PER_BATCH, WINDOW

BEGUN_SECONDS = 3600
"""Longer than a message may be in hand, and than it takes until another worker has it after a death."""
WORKERS = "halftone:workers"
"""A sorted set of `id:threads`; the scores are when each expires, in seconds since 1970."""
ANNOUNCE_SECONDS = 5.0
ALIVE_SECONDS = 20.0
BATCHES_PER_THREAD = 3
"""A worker may have somewhat less in hand (`WorkerSettings.prefetch`); the rest waits for a moment in Valkey."""
LARGEST_WINDOW = 16_384
"""Images. Valkey holds some 100 bytes of each, and a request that is cancelled has so many on their way."""
WINDOW_IMAGES = Gauge(
    "halftone_window_images", "Images of one request that may be on their way at once, as this worker last reckoned."
)
WINDOW_IMAGES.set(WINDOW)


@dataclass(slots=True)
class Fleet:
    """Every command is tried once: where Valkey is away, work goes on without it."""

    client: "redis.Redis"
    threads: int
    _id: UUID = field(default_factory=uuid7)
    _window: int = WINDOW
    _counted_until: float = 0.0

    def begun_before(self, claim: UUID) -> bool | None:
        """Note that the batch with this claim begins; whether it began before, and its worker died. None: unknown."""
        try:
            return not self.client.set(f"halftone:begun:{claim}", 1, nx=True, ex=BEGUN_SECONDS)
        except (redis.RedisError, OSError):
            return None

    def announce(self) -> None:
        """Say that this worker is alive, for a while."""
        now = time.time()
        try:
            with self.client.pipeline(transaction=False) as commands:
                commands.zadd(WORKERS, {f"{self._id}:{self.threads}": now + ALIVE_SECONDS})
                commands.zremrangebyscore(WORKERS, "-inf", now)
                commands.execute()
        except (redis.RedisError, OSError):
            return  # the next one is soon

    def announce_until(self, stop: Event) -> None:
        self.announce()
        while not stop.wait(ANNOUNCE_SECONDS):
            self.announce()

    def window(self) -> int:
        """Images of one request that may be on their way at once: enough to keep all workers busy with it."""
        if time.monotonic() > self._counted_until:
            self._window = min(max(WINDOW, self._all_threads() * BATCHES_PER_THREAD * IMAGES_PER_BATCH), LARGEST_WINDOW)
            WINDOW_IMAGES.set(self._window)
            self._counted_until = time.monotonic() + ANNOUNCE_SECONDS
        return self._window

    def _all_threads(self) -> int:
        try:
            members: Any = self.client.zrangebyscore(WORKERS, time.time(), "+inf")
        except (redis.RedisError, OSError):
            return 0
        return sum(int(member.rpartition(b":")[2]) for member in members)
