"""The connection to Redis as Dramatiq's broker, and sending: single messages, and groups of pipelines.

No Retries, TimeLimit or AgeLimit: an exception is logged, the message acked, and the notifier's `look` repairs.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import dramatiq
import orjson
import redis
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import GroupCallbacks, Middleware, Pipelines
from dramatiq.rate_limits.backends import RedisBackend
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shared.broker.metrics import UNSENT
from shared.log import get_logger
from shared.messages import CompressBatch, FetchBatch, GroupDone, Message

log = get_logger(__name__)

HEARTBEAT_TIMEOUT_MS = 15_000
BARRIER_TTL_MS = 6 * 3600 * 1000


class _Orjson(dramatiq.Encoder):
    def encode(self, data: dict[str, Any]) -> bytes:
        return orjson.dumps(data)

    def decode(self, data: bytes) -> dict[str, Any]:
        decoded: dict[str, Any] = orjson.loads(data)
        return decoded


dramatiq.set_encoder(_Orjson())


class Broker(RedisBroker):
    """A RedisBroker that prefetches no more than `prefetch` says for a queue, and knows what it has in hand.

    What one process has prefetched, another cannot take. What Redis believes we hold and we do not (the reply to a
    `fetch` was lost) is stranded for as long as this process lives: `strays` finds it, `do_requeue` gives it back.
    """

    prefetch: dict[str, int]
    in_hand: dict[str, set[str]]  # ids by queue
    heard_at: float
    probe: "redis.Redis"  # answers at once or fails at once, for the watchdog

    def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
        """Also what a pipeline or a group's last child sends, where Dramatiq swallows the error."""
        try:
            return super().enqueue(message, delay=delay)
        except (redis.RedisError, OSError):
            UNSENT.labels(message.actor_name).inc()
            raise

    @property
    def consumer_class(self) -> Any:
        return _Consumer

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Any:
        return super().consume(queue_name, min(prefetch, self.prefetch.get(queue_name, prefetch)), timeout)

    def strays(self, queue_name: str) -> set[str]:
        """Ids that Redis counts as ours and that are not in hand. One seen once may just be on its way."""
        members: Any = self.probe.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}")
        return {member.decode() for member in members} - self.in_hand[queue_name]


class _Consumer(_RedisConsumer):
    """After an error of Redis Dramatiq begins anew with another one, while threads still work on what this one took."""

    broker: Broker

    @property
    def outstanding_message_count(self) -> int:
        """Dramatiq's own forgets what the consumer before it took, and fetches as many again."""
        return len(self.broker.in_hand[self.queue_name]) + len(self.message_cache)

    def __next__(self) -> Any:
        message = super().__next__()  # type: ignore[no-untyped-call]
        self.broker.heard_at = time.monotonic()  # it asked Redis, or holds as much as it may
        if message is not None:
            self.broker.in_hand[self.queue_name].add(message.options["redis_message_id"])
        return message

    def ack(self, message: Any) -> None:
        try:
            super().ack(message)  # type: ignore[no-untyped-call]
        except RedisTimeoutError as error:  # Dramatiq tries again only after a ConnectionClosed
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        finally:
            self._let_go(message)

    def nack(self, message: Any) -> None:
        try:
            super().nack(message)  # type: ignore[no-untyped-call]
        finally:
            self._let_go(message)

    def _let_go(self, message: Any) -> None:
        self.broker.in_hand[self.queue_name].discard(message.options["redis_message_id"])


def connect(redis_url: str, *, middleware: Sequence[Middleware] = (), retries: int = 4) -> Broker:
    """A broker whose commands are tried again `retries` times, half a second apart on average.

    A web request that must answer at once wants 0. A worker has nothing else to do while Redis is away, and what it
    cannot hand on to the second half of a pipeline waits until its claim ends: it wants many.
    """
    client = _client(redis_url, retries=retries)
    callbacks = GroupCallbacks(RedisBackend(client=client), barrier_ttl=BARRIER_TTL_MS)
    broker = Broker(  # type: ignore[no-untyped-call]
        client=client,
        middleware=[Pipelines(), callbacks, *middleware],
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=100_000,
    )
    broker.prefetch, broker.in_hand, broker.heard_at = {}, defaultdict(set), time.monotonic()
    broker.probe = _client(redis_url, retries=0)
    return broker


def _client(redis_url: str, *, retries: int) -> "redis.Redis":
    return redis.Redis.from_url(
        redis_url,
        retry=Retry(ExponentialWithJitterBackoff(base=0.1, cap=1.0), retries),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        socket_timeout=5 if retries else 2,
        socket_connect_timeout=2 if retries else 1,
        socket_keepalive=True,
    )


def send(broker: Broker, message: Message) -> bool:
    """Enqueue, best effort: False (and a warning) where Redis cannot be reached. The sweeper repairs what was lost."""
    try:
        broker.enqueue(_raw(message))
    except (redis.RedisError, OSError) as error:
        log.warning("message_not_sent", message=message.actor, error=type(error).__name__)
        return False
    return True


def send_group(broker: Broker, pipelines: Iterable[tuple[FetchBatch, CompressBatch]], *, done: GroupDone) -> bool:
    """Send `fetch | compress` pipelines as one group that ends with `done`; False where Redis did not take them all."""
    children = [dramatiq.pipeline([_raw(fetch), _raw(compress)], broker=broker) for fetch, compress in pipelines]
    group = dramatiq.group(children, broker=broker)  # type: ignore[no-untyped-call]
    group.add_completion_callback(_raw(done))  # type: ignore[no-untyped-call]
    try:
        group.run()  # type: ignore[no-untyped-call]
    except (redis.RedisError, OSError) as error:
        UNSENT.labels(done.actor).inc()
        log.warning("group_not_sent", request_id=str(done.request_id), group=done.group, error=type(error).__name__)
        return False
    return True


def _raw(message: Message) -> Any:
    return dramatiq.Message(
        queue_name=message.queue,
        actor_name=message.actor,
        args=(message.model_dump(mode="json"),),
        kwargs={},
        options={},
    )
