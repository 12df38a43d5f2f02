"""What workers tell each other in Valkey: which batches were begun. All of it may be lost; the database decides."""

from dataclasses import dataclass
from uuid import UUID

import redis

BEGUN_SECONDS = 3600
"""Longer than a message may be in hand, and than it takes until another worker has it after a death."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every command is tried once: where Valkey is away, work goes on without it."""

    client: "redis.Redis"

    def begun_before(self, claim: UUID) -> bool | None:
        """Note that the batch with this claim begins; whether it began before, and its worker died. None: unknown."""
        try:
            return not self.client.set(f"halftone:begun:{claim}", 1, nx=True, ex=BEGUN_SECONDS)
        except (redis.RedisError, OSError):
            return None
