"""The epoch key in Redis: gone or different means that Redis lost its messages."""

from dataclasses import dataclass
from uuid import UUID

import redis

from shared.ids import parse_id

KEY = "halftone:epoch"


@dataclass(frozen=True, slots=True)
class Known:
    """What Redis answered; `epoch` is None where it has no key."""

    epoch: UUID | None


class EpochKey:
    """Reads and writes the key; neither raises."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client

    def read(self) -> Known | None:
        """None where Redis cannot be asked."""
        try:
            value = self._client.get(KEY)
        except (redis.RedisError, OSError):
            return None
        return Known(parse_id(value.decode()) if isinstance(value, bytes) else None)

    def write(self, epoch: UUID) -> None:
        try:
            self._client.set(KEY, str(epoch))
        except (redis.RedisError, OSError):
            return  # the next sweep finds it missing, and begins one more epoch
