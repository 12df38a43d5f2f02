"""Rates of each account: calls a second, uploads a minute. Where there are no keys, there are no rates.

Counted in Valkey for all processes together, by the library `limits`; while Valkey is away each process counts for
itself. Its answer decides nothing that must be right, so no call waits for it (ADR 20).
"""

import math
import time
from dataclasses import dataclass

import redis
from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.requests import Request as HttpRequest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import valkey
from shared.http.caller import caller_of
from shared.http.limits import PROBES, REFUSED, kind_of
from shared.http.places import Kind
from shared.http.problems import Problem
from shared.log import get_logger
from shared.schemas.accounts import Limits

log = get_logger(__name__)
PREFIX = "halftone:rates"
LEFT_ALONE = 5.0
"""Seconds for which Valkey is not asked again after an error."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A rate after a call was counted against it, or refused; `reset`: seconds until there is more."""

    name: str
    item: RateLimitItem
    allowed: bool
    remaining: int
    reset: int

    def policy(self) -> str:
        return f'"{self.name}";q={self.item.amount};w={self.item.get_expiry()}'

    def state(self) -> str:
        return f'"{self.name}";r={self.remaining};t={self.reset}'

    def refusal(self) -> Problem:
        seconds = self.item.get_expiry()
        each = "second" if seconds == 1 else "minute"
        detail = f"Your account may make {self.item.amount:,} {self.name} each {each}; try again in {self.reset} s."
        return Problem(429, "rate_limited", detail, headers={"Retry-After": str(self.reset)})


class Rates:
    """Middleware: refuses what exceeds the account's rates, before anything else is done for it.

    Every answer says how much is left, as draft-ietf-httpapi-ratelimit-headers-10 has it.
    """

    def __init__(self, app: ASGIApp, *, redis_url: str, defaults: Limits) -> None:
        self.app = app
        self._defaults = defaults
        self._counts = Counts(redis_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                await self.app(scope, receive, send)
            finally:
                await self._counts.close()
            return
        caller = caller_of(HttpRequest(scope)) if scope["type"] == "http" else None
        if caller is None or caller.key_id is None or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        limits = caller.limits.over(self._defaults)
        counted = await self._count(str(caller.account_id), limits, upload=kind_of(scope) is Kind.UPLOAD)
        if not counted:
            await self.app(scope, receive, send)
            return
        answer = _with_headers(counted, send)
        if counted[-1].allowed:
            await self.app(scope, receive, answer)
            return
        REFUSED.labels("rate", counted[-1].name).inc()
        await counted[-1].refusal().response()(scope, receive, answer)

    async def _count(self, account: str, limits: Limits, *, upload: bool) -> list[Counted]:
        """Against each rate that the account has, up to the first that is exceeded."""
        counted = list[Counted]()
        if limits.calls_per_second is not None:
            counted.append(await self._counts.count("calls", RateLimitItemPerSecond(limits.calls_per_second), account))
        if upload and limits.uploads_per_minute is not None and all(rate.allowed for rate in counted):
            item = RateLimitItemPerMinute(limits.uploads_per_minute)
            counted.append(await self._counts.count("uploads", item, account))
        return counted


class Counts:
    """In Valkey; in this process for a while after Valkey did not answer."""

    def __init__(self, redis_url: str) -> None:
        self._client = valkey.connect(redis_url)
        storage = RedisStorage(
            "async+redis://",  # the pool knows the address
            implementation="redispy",
            key_prefix=PREFIX,
            connection_pool=self._client.connection_pool,  # type: ignore[arg-type] # its options are typed too narrowly
        )
        self._shared = SlidingWindowCounterRateLimiter(storage)
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._away_until = 0.0

    async def count(self, name: str, item: RateLimitItem, account: str) -> Counted:
        now = time.monotonic()
        if now < self._away_until:
            return await _count(self._local, name, item, account)
        probes = self._away_until > 0
        if probes:
            self._away_until = now + LEFT_ALONE  # for all other calls, until this one knows
        try:
            counted = await _count(self._shared, name, item, account)
        except (redis.RedisError, OSError) as error:
            if not probes:
                log.warning("rates_counted_locally", error=type(error).__name__)
            self._away_until = time.monotonic() + LEFT_ALONE
            return await _count(self._local, name, item, account)
        self._away_until = 0.0
        return counted

    async def close(self) -> None:
        await self._client.aclose()
        await self._client.connection_pool.disconnect()


async def _count(limiter: SlidingWindowCounterRateLimiter, name: str, item: RateLimitItem, account: str) -> Counted:
    allowed = await limiter.hit(item, name, account)
    stats = await limiter.get_window_stats(item, name, account)
    return Counted(name, item, allowed, stats.remaining, max(1, math.ceil(stats.reset_time - time.time())))


def _with_headers(counted: list[Counted], send: Send) -> Send:
    async def tagged(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["RateLimit-Policy"] = ", ".join(rate.policy() for rate in counted)
            headers["RateLimit"] = ", ".join(rate.state() for rate in counted)
        await send(message)

    return tagged
