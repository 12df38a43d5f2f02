"""API keys: which account is behind one, and the middleware that asks every call for one (ADR 19)."""

import asyncio
import hashlib
import hmac
import math
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from typing import Any

import psycopg
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http.caller import NOBODY, Caller, KeyScope
from shared.http.limits import client_address
from shared.http.paths import scope_of
from shared.http.problems import Problem, unavailable
from shared.log import get_logger
from shared.schemas.accounts import Limits
from shared.valkey import USED

log = get_logger(__name__)
KEY_ID = re.compile(r"[a-z2-7]{12}")
KEY = re.compile(rf"ht_({KEY_ID.pattern})_([0-9A-Za-z]{{43}})")
"""Neither part can hold the `_` between them. 43 characters of 62 hold 256 bits."""
CACHE_SECONDS = 3.0
"""A key that was revoked is refused by every process within 5 s: this, and the time that a look-up may take."""
LOOKUP_SECONDS = 2.0
MAX_KNOWN = 10_000
MAX_UNKNOWN = 1_000
NEW_IDS_PER_SECOND = 250
"""Look-ups of ids that are not in use here, a process: guesses must not flood the database."""
NEW_IDS_OF_ONE = 50
"""Of these for one address: its guesses must not keep out the valid keys that a process has not seen yet."""
USED_EVERY = 60.0
FIND = b"""
    SELECT k.account_id, digest, scopes, extract(epoch FROM expires_at - now())::float8,
           calls_per_second, uploads_per_minute, open_requests, images_per_day, stored_bytes  -- the fields of Limits
    FROM api_key k JOIN account a ON a.id = k.account_id
    WHERE k.id = %s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
Connection = psycopg.AsyncConnection[tuple[Any, ...]]
REALM = 'Bearer realm="halftone"'


def digest_of(secret: str) -> str:
    """SHA-256 without salt or stretching: the secret is 256 random bits, too many to try."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A valid key; the times are those of the monotonic clock."""

    caller: Caller
    digest: str = field(repr=False)
    read_at: float
    ends_at: float


class LastUse:
    """Records when keys were used, each at most once a minute, without delaying calls; lost while Valkey is away."""

    def __init__(self, valkey: Redis) -> None:
        self._valkey = valkey
        self._recorded: dict[str, float] = {}
        self._waiting: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def record(self, key_id: str) -> None:
        now = time.monotonic()
        if now - self._recorded.get(key_id, -math.inf) < USED_EVERY:
            return
        _remember(self._recorded, key_id, now, at_most=MAX_KNOWN)
        self._waiting[key_id] = int(time.time())
        if self._task is None:
            self._task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._waiting:
                written, self._waiting = self._waiting, {}
                await self._valkey.hset(USED, mapping=dict(written.items()))
        except (RedisError, OSError) as error:
            self._waiting.clear()
            log.warning("use_of_keys_not_recorded", error=type(error).__name__)
        finally:
            self._task = None

    async def close(self) -> None:
        if self._task is not None:
            await asyncio.wait({self._task})
        await self._valkey.aclose()


class Keyring:
    """The keys in use, each read from the database again after CACHE_SECONDS. Belongs to one event loop.

    `connect` must give a connection in autocommit mode. It is not one of the pool's, all of which uploads may occupy.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], last_use: LastUse) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._reading = asyncio.Lock()
        self._lookups: dict[str, asyncio.Task[bool]] = {}
        self._known: dict[str, KnownKey] = {}
        self._unknown: dict[str, float] = {}
        self._new_ids: Counter[str] = Counter()
        self._new_since = -math.inf
        self._last_use = last_use

    async def caller(self, key_id: str, secret: str, *, address: str = "") -> Caller | None:
        """Who has this key; None if nobody has it, or not any more. Raises what `find` raises."""
        known = await self.find(key_id, address=address)
        if known is None or not hmac.compare_digest(known.digest, digest_of(secret)):
            return None
        self._last_use.record(key_id)
        return known.caller

    async def find(self, key_id: str, *, address: str = "") -> KnownKey | None:
        """The key if it is valid, as the database had it at most CACHE_SECONDS ago. `address`: who asks.

        Raises:
            Problem: 503 while the database is away, 429 while too many unknown ids are asked for.

        """
        now = time.monotonic()
        known = self._known.get(key_id)
        read_at = known.read_at if known else self._unknown.get(key_id, -math.inf)
        if now - read_at > CACHE_SECONDS:
            if known is None and key_id not in self._lookups:
                self._count_new_id(now, address)
            await self._look_up(key_id)
            known = self._known.get(key_id)
        return known if known and time.monotonic() < known.ends_at else None

    def _count_new_id(self, now: float, address: str) -> None:
        if now - self._new_since >= 1:
            self._new_ids.clear()
            self._new_since = now
        if self._new_ids[address] >= NEW_IDS_OF_ONE or self._new_ids.total() >= NEW_IDS_PER_SECOND:
            detail = "Too many unknown API keys are being tried; try again in a moment."
            raise Problem(429, "too_many_unknown_keys", detail, headers={"Retry-After": "1"})
        self._new_ids[address] += 1

    async def _look_up(self, key_id: str) -> None:
        """One statement for all who ask for this key meanwhile. It is never cancelled, a caller just stops waiting."""
        lookup = self._lookups.get(key_id)
        if lookup is None:
            lookup = self._lookups[key_id] = asyncio.create_task(self._read(key_id))
        await asyncio.wait({lookup}, timeout=LOOKUP_SECONDS)
        if not lookup.done() or not lookup.result():
            raise unavailable()

    async def _read(self, key_id: str) -> bool:
        try:
            async with self._reading:
                read_at = time.monotonic()
                row = await self._row(key_id)
        except (psycopg.Error, OSError) as error:
            log.warning("key_not_read", key=key_id, error=type(error).__name__)
            return False
        finally:
            del self._lookups[key_id]
        if row is None:
            self._known.pop(key_id, None)
            _remember(self._unknown, key_id, read_at, at_most=MAX_UNKNOWN)
        else:
            account, digest, scopes, seconds, *limits = row
            own = {field.name: limit for field, limit in zip(fields(Limits), limits, strict=True)}
            caller = Caller(account, key_id, frozenset(map(KeyScope, scopes)), Limits(**own))
            ends_at = math.inf if seconds is None else read_at + seconds
            _remember(self._known, key_id, KnownKey(caller, digest, read_at, ends_at), at_most=MAX_KNOWN)
        return True

    async def _row(self, key_id: str) -> tuple[Any, ...] | None:
        try:
            return await self._row_once(key_id)
        except psycopg.OperationalError:
            if self._connection is None or not self._connection.closed:
                raise
        return await self._row_once(key_id)  # the connection was left from before the server restarted

    async def _row_once(self, key_id: str) -> tuple[Any, ...] | None:
        if self._connection is None or self._connection.closed:
            self._connection = None
            self._connection = await self._connect()
        cursor = await self._connection.execute(FIND, [key_id], prepare=True)
        return await cursor.fetchone()

    async def close(self) -> None:
        for lookup in list(self._lookups.values()):
            lookup.cancel()
        if self._connection is not None:
            await self._connection.close()
        await self._last_use.close()


def _remember(found: dict[str, Any], key_id: str, value: Any, *, at_most: int) -> None:
    """As the newest entry; the oldest one goes."""
    found.pop(key_id, None)
    found[key_id] = value
    if len(found) > at_most:
        del found[next(iter(found))]


class Authentication:
    """Middleware: `scope["caller"]` is the owner of the key that came with the call; without a `keyring` keys are off.

    Where keys are off a key that was sent is not looked at: a client that has one works with either stack.
    """

    def __init__(self, app: ASGIApp, *, keyring: Keyring | None) -> None:
        self.app = app
        self.keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.keyring is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "lifespan":
            try:
                await self.app(scope, receive, send)
            finally:
                await self.keyring.close()
        else:
            try:
                await self._judge(scope, self.keyring)
            except Problem as problem:
                await problem.response()(scope, receive, send)
                return
            await self.app(scope, receive, send)

    async def _judge(self, scope: Scope, keyring: Keyring) -> None:
        """Raises Problem: 401, 403, and what `Keyring.find` raises."""
        needed = scope_of(scope["method"], scope["path"])
        if needed is None:
            scope["caller"] = NOBODY
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if not given:
            raise _unauthorized("missing_key", "Send an API key: `Authorization: Bearer ht_...`.", REALM)
        kind, _, text = given[0].decode("latin-1").partition(" ")
        match = KEY.fullmatch(text.strip(" ")) if len(given) == 1 and kind.lower() == "bearer" else None
        caller = await keyring.caller(*match.groups(), address=client_address(scope)) if match else None
        if caller is None:
            detail = "This API key is not valid: it is misspelt, expired or revoked."
            raise _unauthorized("invalid_key", detail, f'{REALM}, error="invalid_token"')
        if needed and needed not in caller.scopes:
            detail = f"This call needs a key with the scope `{needed}`; this key has {_listed(caller.scopes)}."
            challenge = f'{REALM}, error="insufficient_scope", scope="{needed}"'
            raise Problem(403, "missing_scope", detail, headers={"WWW-Authenticate": challenge})
        scope["caller"] = caller


def _unauthorized(code: str, detail: str, challenge: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": challenge})


def _listed(scopes: frozenset[KeyScope]) -> str:
    return ", ".join(f"`{scope}`" for scope in KeyScope if scope in scopes) or "none"
