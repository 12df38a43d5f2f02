"""Valkey for the HTTP services, beside the broker: small things that a call may not wait for."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

USED = "halftone:keys:used"
"""A hash: id of an API key -> unix seconds of its last use; the notifier moves it to `api_key.last_used_at`."""
TIMEOUT = 0.2
"""Seconds, for a connection and for an answer; nothing is tried again."""
CONNECTIONS = 16


def connect(url: str) -> Redis:
    """A client for one event loop, which connects at its first command and gives up soon, with a redis.RedisError."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)
