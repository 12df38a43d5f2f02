"""Valkey for the HTTP services, beside the broker: small things that a call may not wait for."""

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

USED = "halftone:keys:used"
"""A hash: id of an API key -> unix seconds of its last use; the notifier moves it to `api_key.last_used_at`."""
TIMEOUT = 0.2
"""Seconds, for a connection and for an answer; nothing is tried again."""


def connect(url: str) -> redis.asyncio.Redis:
    """A client for one event loop, which connects at its first command."""
    return redis.asyncio.Redis.from_url(
        url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
    )
