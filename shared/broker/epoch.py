"""The epoch key in Redis: gone or different means that Redis lost its messages."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis

from shared.ids import parse_id

KEY = "halftone:epoch"


@dataclass(frozen=True, slots=True)
class Known:
    """What Redis answered; `epoch` is None where it has no key."""

    epoch: UUID | None


class EpochKey:
    """Reads and writes the key; neither raises. A restarted server counts as wiped: its file may be an old one."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client

    def read(self) -> Known | None:
        """None where Redis cannot be asked."""
        try:
            value: Any = self._client.get(KEY)
            epoch, _, run_id = (value or b"").decode().partition(":")
            return Known(parse_id(epoch) if run_id == self._run_id() else None)
        except (redis.RedisError, OSError):
            return None

    def write(self, epoch: UUID) -> None:
        try:
            self._client.set(KEY, f"{epoch}:{self._run_id()}")
        except (redis.RedisError, OSError):
            return  # the next sweep finds it missing, and begins one more epoch

    def _run_id(self) -> str:
        """Which start of the server this is."""
        info: Any = self._client.info("server")
        return str(info["run_id"])
