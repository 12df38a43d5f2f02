"""Whether messages that were sent before still wait in the queues, so that no copies are sent.

The queues are first in, first out, and a message bears the time at which it was made (Dramatiq's `message_timestamp`;
the second half of a pipeline that of the first). So one that was sent at a time is still queued only if the oldest
message of its queue is as old; who looks past messages moves none of them (shares.py). Messages that are given back
keep their time: a repetition then comes later, never less often. Where clocks differ, copies are sent too often or
later.
"""

from collections.abc import Collection, Sequence
from typing import Any

import orjson
import redis

from shared.broker.queues import QUEUE
from shared.messages import DispatchGroup

BARRIER = "halftone:barrier:"
BARRIER_TTL_MS = 48 * 3600 * 1000
"""Longer than a request may take (`HALFTONE_DEADLINE`): the barrier also tells when its group was sent."""
SLACK_MS = 1_000
"""By how much the clocks of Valkey and of the senders may differ."""


def barrier_of(group: str, number: int, dispatch_no: int, *parts: object) -> str:
    """The key that counts the messages of a dispatch of a group; `parts` tell a part of it that is sent by itself."""
    return BARRIER + ":".join(map(str, (group, number, dispatch_no, *parts)))


class Backlog:
    """One round trip to Valkey a question. Without a client, or while Valkey is away, nothing counts as waiting."""

    def __init__(self, client: "redis.Redis | None" = None) -> None:
        self._client = client

    def waited(self, queue: str) -> float:
        """For how many seconds the oldest message of the queue has waited; 0 if the queue is empty."""
        lengths = self.lengths([queue])
        return 0.0 if lengths is None else lengths[queue][1]

    def lengths(self, queues: Sequence[str]) -> dict[str, tuple[int, float]] | None:
        """The messages that wait in each queue, and for how many seconds the first has; None without an answer."""
        if self._client is None:
            return None
        try:
            with self._client.pipeline(transaction=False) as pipe:
                pipe.time()
                for queue in queues:
                    pipe.llen(QUEUE + queue)
                    pipe.lindex(QUEUE + queue, 0)
                (seconds, micros), *found = pipe.execute()
        except (redis.RedisError, OSError):
            return None
        now = seconds * 1000 + micros // 1000
        made_at = [_made_at(head) for head in found[1::2]]
        waited = [0.0 if at is None else max(0.0, (now - at) / 1000) for at in made_at]
        return dict(zip(queues, zip(found[::2], waited, strict=True), strict=True))

    def may_hold(self, group: DispatchGroup, queues: Collection[str]) -> set[str]:
        """Those of `queues` that may still hold messages of the group's last dispatch."""
        if self._client is None:
            return set()
        try:
            with self._client.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.pttl(barrier_of(str(group.request_id), group.group, group.dispatch_no))
                for queue in queues:
                    pipe.lindex(QUEUE + queue, 0)
                (seconds, micros), left, *heads = pipe.execute()
        except (redis.RedisError, OSError):
            return set()
        if left < 0:  # all of them are finished, or Valkey has lost them
            return set()
        sent_at = seconds * 1000 + micros // 1000 - (BARRIER_TTL_MS - left)
        made_at = zip(queues, map(_made_at, heads), strict=True)
        return {queue for queue, at in made_at if at is not None and at <= sent_at + SLACK_MS}


def _made_at(message: Any) -> int | None:
    try:
        return int(orjson.loads(message)["message_timestamp"])
    except (ValueError, KeyError, TypeError):  # there is none, or it is not one of ours
        return None
