"""The queues: lists in Valkey that Dramatiq consumes through us, without polling (ADR 15).

`halftone:queue:NAME` holds the messages that wait, `halftone:taken:PROCESS` those that a process has in hand.
One command moves a message, so that it is always in one of them. `halftone:heartbeats` has each process's last one.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from threading import Event, Lock
from typing import Any

import dramatiq
import redis
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed, DecodeError
from dramatiq.middleware import Middleware

from shared.broker.metrics import not_sent
from shared.broker.shares import SEARCH_DEPTH, SEARCH_SECONDS, TAKE_OF_OTHERS, Taken, full
from shared.log import get_logger

log = get_logger(__name__)

QUEUE = "halftone:queue:"
TAKEN = "halftone:taken:"
HEARTBEATS = "halftone:heartbeats"
HEARTBEAT_TIMEOUT_MS = 15_000
"""A process that was silent for so long is dead, and its messages are given back."""
BLOCK_SECONDS = 5.0
"""How long an idle consumer waits in Valkey. Less than the timeout of the heartbeat: a process that is stopped while it
waits must not be given messages once it counts as dead."""
BEAT_SECONDS = 4.0
NEVER = float("-inf")
DRAINING_SECONDS = 0.05
"""How often a consumer looks whether it may end while the process stops: heartbeats go on until then."""

# A message that is no longer ours was given to another process, which hands on what follows: else it would be doubled.
# `#!lua`: refused as a whole where Valkey is full.
FINISH = """#!lua
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
if KEYS[3] then
    if redis.call('DECR', KEYS[3]) > 0 then return 1 end
    redis.call('DEL', KEYS[3])
end
redis.call('RPUSH', KEYS[2], ARGV[2])
return 1
"""

# A full Valkey refuses BLMOVE, and would stay full if nothing were taken from it.
TAKE_FROM_FULL = """#!lua flags=allow-oom
return redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')
"""

# A process that died before its first heartbeat after Valkey was wiped is known by its list alone. One that starts
# finds it (from ARGV[5] on) and counts it as heard now, and so it is dead soon.
BEAT = """#!lua flags=allow-oom
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
for i = 5, #ARGV do redis.call('ZADD', KEYS[1], 'NX', now, string.sub(ARGV[i], #ARGV[4] + 1)) end
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])) do
    local taken = ARGV[4] .. dead
    for _, message in ipairs(redis.call('LRANGE', taken, 0, -1)) do
        local sound, fields = pcall(cjson.decode, message)
        if sound then redis.call('RPUSH', ARGV[3] .. fields['queue_name'], message) end
    end
    redis.call('DEL', taken)
    redis.call('ZREM', KEYS[1], dead)
end
"""


class Broker(dramatiq.Broker):
    """Holds at most `prefetch` messages of a queue in hand: what one process has taken no other can take.

    Of a queue in `shares`, so many of one request at most (shares.py).
    Messages that Valkey counts as ours although we do not have them (the reply was lost) are stranded for as long as
    this process lives: `strays` finds them, `give_back` puts them into their queue again.
    """

    def __init__(
        self,
        client: "redis.Redis",
        *,
        name: str,
        blocking: "redis.Redis",
        probe: "redis.Redis",
        middleware: Iterable[Middleware],
    ) -> None:
        super().__init__(middleware=list(middleware))
        self.client = client
        self.blocking = blocking  # waits for messages; its connections bear the name, so that they can be called back
        self.probe = probe  # answers at once or fails at once, for the watchdog
        self.name = name
        self.taken = TAKEN + name
        self.prefetch: dict[str, int] = {}
        self.shares: dict[str, int] = {}
        self.in_hand: defaultdict[str, dict[str, Taken]] = defaultdict(dict)  # by queue and message id
        self.room: defaultdict[str, Event] = defaultdict(Event)  # set when a message of the queue is let go
        self.heard_at = time.monotonic()
        self.draining = Event()
        self.consumers: list[_Consumer] = []
        self._beat_at = NEVER
        self._beating = Lock()
        self._finish = client.register_script(FINISH)
        self._beat = client.register_script(BEAT)
        self.take_from_full = client.register_script(TAKE_FROM_FULL)
        self.take_of_others = client.register_script(TAKE_OF_OTHERS)

    def declare_queue(self, queue_name: str) -> None:
        """No delay queue: a message that is to wait is a time in the database."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
        """Raises what Redis raises."""
        if delay is not None:
            raise ValueError("there are no delayed messages")
        self.enqueue_all([message])
        return message

    def enqueue_all(self, messages: Sequence[Any], *, barrier: str | None = None, ttl_ms: int = 0) -> None:
        """Enqueue in one round trip; `barrier` is a key that will count the messages down.

        With one all of it or nothing, also where Valkey is full: the barrier says that all of them were sent.
        """
        queues: defaultdict[str, list[bytes]] = defaultdict(list)
        for message in messages:
            queues[message.queue_name].append(message.encode())
        with self.client.pipeline(transaction=barrier is not None) as pipe:
            if barrier:
                pipe.set(barrier, len(messages), px=ttl_ms)
            for queue_name, encoded in queues.items():
                pipe.rpush(QUEUE + queue_name, *encoded)
            pipe.execute()

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """A consumer that blocks for `timeout` ms at most."""
        consumer = _Consumer(self, queue_name, min(prefetch, self.prefetch.get(queue_name, prefetch)), timeout / 1000)
        self.consumers = [other for other in self.consumers if other.queue_name != queue_name] + [consumer]
        return consumer

    def beat(self) -> None:
        """Say that this process lives, and give back what dead ones had taken. Does nothing if it was just done."""
        with self._beating:
            if time.monotonic() >= self._beat_at + BEAT_SECONDS:
                # Not by KEYS: there may be a hundred thousand others, and all would wait meanwhile.
                lists = list(self.client.scan_iter(TAKEN + "*", 1000)) if self._beat_at == NEVER else []
                self._beat(keys=[HEARTBEATS], args=[self.name, HEARTBEAT_TIMEOUT_MS, QUEUE, TAKEN, *lists])
                self._beat_at = time.monotonic()

    def finish(self, message: Taken) -> None:
        """Let Valkey forget the message and send what follows it, in one step: a killed process leaves both or none."""
        following = message.following
        if following is not None:
            barrier = [following.barrier] if following.barrier else []
            keys = [self.taken, QUEUE + following.message.queue_name, *barrier]
            try:
                self._finish(keys=keys, args=[message.raw, following.message.encode()])
            except redis.exceptions.OutOfMemoryError as error:  # what is done makes room, and `reconcile` repairs
                not_sent(following.message.actor_name, error)
            else:
                return
        self.client.lrem(self.taken, 1, message.raw)  # type: ignore[arg-type]

    def give_back(self, raw: bytes) -> None:
        """Put a message that is ours behind the others of its queue."""
        self._finish(keys=[self.taken, QUEUE + dramatiq.Message.decode(raw).queue_name], args=[raw, raw])

    def strays(self) -> set[bytes]:
        """Messages that Valkey counts as ours and that are not in hand. One that is seen once may be on its way."""
        members: Any = self.probe.lrange(self.taken, 0, -1)
        return set(members) - {message.raw for held in list(self.in_hand.values()) for message in list(held.values())}

    def drain(self) -> None:
        """Take no more messages: consumers that block in Valkey are called back."""
        self.draining.set()
        for room in list(self.room.values()):
            room.set()
        try:
            while any(consumer.blocked for consumer in self.consumers):
                self._unblock()
                time.sleep(DRAINING_SECONDS / 10)
        except (redis.RedisError, OSError):
            log.warning("consumers_not_called_back")  # they come back by themselves

    def close(self) -> None:
        for client in (self.client, self.blocking, self.probe):
            client.close()

    def _unblock(self) -> None:
        clients: Any = self.probe.client_list()
        for client in clients:
            if client["name"] == self.name:
                self.probe.client_unblock(int(client["id"]))


class _Consumer(Consumer):
    """After an error of Redis, Dramatiq makes a new consumer while threads still work on messages of the old one."""

    def __init__(self, broker: Broker, queue_name: str, prefetch: int, seconds: float) -> None:
        self.broker = broker
        self.queue_name = queue_name
        self.prefetch = prefetch
        self.seconds = seconds
        self.held = broker.in_hand[queue_name]
        self.room = broker.room[queue_name]
        self.share = broker.shares.get(queue_name)
        self.found = False  # whether the last search did
        self.passed = 0  # messages at the head of the queue that the next search does not look at
        self.blocked = False  # set before `draining` is read: `drain` waits for all that may not have seen it

    def __next__(self) -> Taken | None:
        try:
            self.broker.beat()
            message = self._take() if self._has_room() else None
        except (redis.RedisError, OSError) as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        self.broker.heard_at = time.monotonic()  # it asked Redis, or holds as much as it may
        return message

    def _has_room(self) -> bool:
        """False after a wait for room."""
        if self.broker.draining.is_set():
            time.sleep(DRAINING_SECONDS)
            return False
        self.room.clear()
        if len(self.held) < self.prefetch:
            return True
        self.room.wait(self.seconds)
        return False

    def _take(self) -> Taken | None:
        self.blocked = True
        try:
            if self.broker.draining.is_set():
                return None
            queue, ours = QUEUE + self.queue_name, self.broker.taken
            if self.share and (busy := full([held.owners for held in list(self.held.values())], self.share)):
                return self._take_of_others(queue, busy)
            raw: Any = self.broker.blocking.blmove(queue, ours, self.seconds)  # type: ignore[arg-type]
        except redis.exceptions.OutOfMemoryError:
            raw = self.broker.take_from_full(keys=[queue, ours])
            if raw is None:
                self.broker.draining.wait(self.seconds)
        finally:
            self.blocked = False
        return self._hold(raw) if raw else None

    def _take_of_others(self, queue: str, busy: Sequence[str]) -> Taken | None:
        """Look for one at once after one was found; else after a wait, unless that makes room meanwhile."""
        if not self.found and (self.room.wait(min(SEARCH_SECONDS, self.seconds)) or self.broker.draining.is_set()):
            return None
        keys, depth = [queue, self.broker.taken], SEARCH_DEPTH
        found: Any = self.broker.take_of_others(keys=keys, args=[self.passed, depth, *busy])
        self.passed, *raw = found
        self.found = bool(raw)
        return self._hold(raw[0]) if raw else None

    def _hold(self, raw: bytes) -> Taken | None:
        try:
            message = Taken(dramatiq.Message.decode(raw), raw)
        except DecodeError:
            log.exception("message_unreadable", queue=self.queue_name)
            self.broker.client.lrem(self.broker.taken, 1, raw)  # type: ignore[arg-type]
            return None
        self.held[message.message_id] = message
        return message

    def ack(self, message: MessageProxy) -> None:
        """Dramatiq tries again after a ConnectionClosed, and until then the message is ours.

        After any other error it would leave the message in hand for good: a primary that was demoted refuses to write.
        """
        assert isinstance(message, Taken)
        try:
            self.broker.finish(message)
        except (redis.RedisError, OSError) as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        self._let_go(message)

    def nack(self, message: MessageProxy) -> None:
        """A message without a receiver, as while a newer service sends what this one does not know yet."""
        self.ack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        try:
            for message in messages:
                assert isinstance(message, Taken)
                self.broker.give_back(message.raw)
                self._let_go(message)
        except (redis.RedisError, OSError) as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]

    def _let_go(self, message: Taken) -> None:
        self.held.pop(message.message_id, None)
        self.room.set()
