"""Shares: how much of a process one request, and one account, may hold at once, so that others find room (ADR 22).

What is shared is threads, and messages of a queue in hand. Sizes are those of a request on its own: its account may
hold half as much again for its other requests, and all accounts together twice as much.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dramatiq
from dramatiq.broker import MessageProxy

SEARCH_SECONDS = 0.25
"""How often a process that holds one account's share of a queue looks for messages of others in it."""
SEARCH_DEPTH = 128
"""Messages of a queue that one search looks at; if none of them may be taken, the next one looks at those behind."""

# ARGV: how many messages to pass over and how many to look at, then the ids of requests and accounts that hold their
# share. Nothing is put elsewhere, for the first message of a queue is its oldest (backlog.py). A process that may take
# anything waits in BLMOVE instead. `allow-oom`: it makes nothing that was not there.
TAKE_OF_OTHERS = """#!lua flags=allow-oom
local passed, depth = tonumber(ARGV[1]), tonumber(ARGV[2])
local waiting = redis.call('LRANGE', KEYS[1], passed, passed + depth - 1)
for at, raw in ipairs(waiting) do
    local free = true
    for i = 3, #ARGV do free = free and not string.find(raw, ARGV[i], 1, true) end
    if free then
        redis.call('LREM', KEYS[1], 1, raw)
        redis.call('RPUSH', KEYS[2], raw)
        return {passed + at - 1, raw}
    end
end
return {#waiting == depth and passed + depth or 0}
"""


def owners(message: dramatiq.Message[Any]) -> tuple[str, ...]:
    """The account and the request that a batch belongs to; empty for messages that are quickly done.

    Batches of a service that names no accounts yet count as those of one account.
    """
    payload = message.args[0] if message.args else None
    if not isinstance(payload, dict) or "claim" not in payload:
        return ()
    return str(payload.get("account_id", "")), str(payload["request_id"])


@dataclass(frozen=True, slots=True)
class Following:
    """What is sent when a message is finished; with a `barrier`, by the last of the messages that share it."""

    message: dramatiq.Message[Any]
    barrier: str | None = None


class Taken(MessageProxy):
    """A message in hand, as Valkey has it: under way, or waiting for a thread."""

    def __init__(self, message: dramatiq.Message[Any], raw: bytes) -> None:
        super().__init__(message)
        self.raw = raw
        self.owners = owners(message)
        self.following: Following | None = None


def whole(size: int) -> int:
    """What all accounts together may hold, where one request may hold `size`."""
    return 2 * size


def _sizes(size: int) -> tuple[int, int]:
    """Of an account, and of a request, as in `owners`."""
    return size + size // 2, size


class Shares:
    """Limits by owner on what is held at once. Not safe between threads."""

    def __init__(self, size: int) -> None:
        self._sizes = _sizes(size)
        self._whole = whole(size)
        self._all = 0
        self._held: Counter[str] = Counter()

    def take(self, owned_by: tuple[str, ...]) -> None:
        self._all += bool(owned_by)
        self._held.update(owned_by)

    def give_back(self, owned_by: tuple[str, ...]) -> None:
        self._all -= bool(owned_by)
        self._held.subtract(owned_by)
        for owner in owned_by:
            if not self._held[owner]:
                del self._held[owner]

    def admits(self, owned_by: tuple[str, ...]) -> bool:
        """Whether they may hold one more."""
        if not owned_by:
            return True
        return self._all < self._whole and all(
            self._held[owner] < size for owner, size in zip(owned_by, self._sizes, strict=True)
        )

    def load(self, owned_by: tuple[str, ...]) -> tuple[int, ...]:
        """A sort key: the owners that hold least come first."""
        return tuple(self._held[owner] for owner in owned_by)


def full(held: Iterable[tuple[str, ...]], size: int) -> list[str]:
    """The accounts and requests that may have no more messages in hand."""
    counts = Counter((owner, level) for owned_by in held for level, owner in enumerate(owned_by))
    return [owner for (owner, level), count in counts.items() if owner and count >= _sizes(size)[level]]
