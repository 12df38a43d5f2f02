"""The connection to Redis as Dramatiq's broker, and sending: single messages, and groups of pipelines.

No Retries, TimeLimit or AgeLimit: an exception is logged, the message acked, and the notifier's `reconcile` repairs.
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
    """A RedisBroker that prefetches at most `prefetch` messages of a queue, and knows which messages it has in hand.

    A message that one process has prefetched no other can take. Messages that Redis counts as ours although we do not
    have them (the reply to a `fetch` was lost) are stranded for as long as this process lives: `strays` finds them,
    `do_requeue` gives them back.
    """

    prefetch: dict[str, int]
    in_hand: dict[str, dict[str, Any]]  # messages by queue and id in Redis: under way, or waiting for a thread
    heard_at: float
    probe: "redis.Redis"  # answers at once or fails at once, for the watchdog

    def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
        """Also for the next half of a pipeline and for a group's callback, where Dramatiq swallows the error."""
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
        """Ids that Redis counts as ours and that are not in hand. One that is seen once may just be on its way."""
        members: Any = self.probe.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}")
        return {member.decode() for member in members} - set(self.in_hand[queue_name])


class _Consumer(_RedisConsumer):
    """After an error of Redis, Dramatiq makes a new consumer while threads still work on messages of the old one."""

    broker: Broker

    @property
    def outstanding_message_count(self) -> int:
        """Dramatiq's own count forgets the messages of the consumer before it, and fetches as many again."""
        return len(self.broker.in_hand[self.queue_name]) + len(self.message_cache)

    def __next__(self) -> Any:
        message = super().__next__()  # type: ignore[no-untyped-call]
        self.broker.heard_at = time.monotonic()  # it asked Redis, or holds as much as it may
        if message is not None:
            self.broker.in_hand[self.queue_name][message.options["redis_message_id"]] = message
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
        self.broker.in_hand[self.queue_name].pop(message.options["redis_message_id"], None)


def connect(redis_url: str, *, middleware: Sequence[Middleware] = (), retries: int = 4) -> Broker:
    """A broker whose commands are tried again `retries` times, half a second apart on average.

    A web request that must answer at once wants 0. A worker has nothing else to do while Redis is away, and images
    that it cannot hand on to the second half of a pipeline wait until their claim ends: it wants many.
    """
    client = _client(redis_url, retries=retries)
    callbacks = GroupCallbacks(RedisBackend(client=client), barrier_ttl=BARRIER_TTL_MS)
    broker = Broker(  # type: ignore[no-untyped-call]
        client=client,
        middleware=[Pipelines(), callbacks, *middleware],
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=100_000,
    )
    broker.prefetch, broker.in_hand, broker.heard_at = {}, defaultdict(dict), time.monotonic()
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
    """Enqueue, best effort: False (and a warning) where Redis cannot be reached; then the sweeper sends it again."""
    try:
        broker.enqueue(_raw(message))
    except (redis.RedisError, OSError) as error:
        log.warning("message_not_sent", message=message.actor, error=type(error).__name__)
        return False
    return True


def send_group(
    broker: Broker, pipelines: Iterable[tuple[FetchBatch, CompressBatch | None]], *, done: GroupDone
) -> bool:
    """Send `fetch | compress` pipelines as one group that ends with `done`; False where Redis did not take them all."""
    halves = [[_raw(half) for half in pipeline if half] for pipeline in pipelines]
    children = [dramatiq.pipeline(messages, broker=broker) for messages in halves]
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
