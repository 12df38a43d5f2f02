"""The connection to Redis as Dramatiq's broker, and sending: single messages, and groups of pipelines.

No Retries, TimeLimit or AgeLimit: an exception is logged, the message acked, and the notifier's `reconcile` repairs.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

import dramatiq
import orjson
import redis
from dramatiq.middleware import Middleware
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shared import tracing
from shared.broker.backlog import BARRIER_TTL_MS, barrier_of
from shared.broker.log_context import LogContext
from shared.broker.metrics import not_sent
from shared.broker.queues import BLOCK_SECONDS, Broker
from shared.broker.shares import Following, Taken
from shared.broker.trace_context import TraceContext
from shared.messages import CompressBatch, FetchBatch, GroupDone, Message


class _Orjson(dramatiq.Encoder):
    def encode(self, data: dict[str, Any]) -> bytes:
        return orjson.dumps(data)

    def decode(self, data: bytes) -> dict[str, Any]:
        decoded: dict[str, Any] = orjson.loads(data)
        return decoded


dramatiq.set_encoder(_Orjson())


class HandOn(Middleware):
    """Notes what follows a message: the second half of its pipeline, or its group's callback.

    Dramatiq's own Pipelines and GroupCallbacks send it before the ack, in six round trips.
    """

    def after_process_message(
        self, broker: Any, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        del broker
        if exception is not None or not isinstance(message, Taken):
            return
        if target := message.options.get("pipe_target"):
            following: dramatiq.Message[Any] = dramatiq.Message(**target)
            args = (*following.args, result)
            message.following = Following(following.copy(args=args, options=tracing.headers()))
        elif done := message.options.get("group_completion_callback"):
            following = dramatiq.Message(**done).copy(options=tracing.headers())
            message.following = Following(following, barrier=message.options["barrier"])


def connect(redis_url: str, *, middleware: Sequence[Middleware] = (), retries: int = 4) -> Broker:
    """A broker whose commands are tried again `retries` times, half a second apart on average.

    A web request that must answer at once wants 0. A worker has nothing else to do while Redis is away, and images
    that it cannot hand on to the second half of a pipeline wait until their claim ends: it wants many.
    """
    name = str(uuid4())
    traced = tracing.current()
    return Broker(
        _client(redis_url, retries=retries),
        name=name,
        blocking=_client(redis_url, retries=retries, waits=BLOCK_SECONDS, client_name=name),
        probe=_client(redis_url, retries=0),
        middleware=[LogContext(), *([TraceContext(traced)] if traced else []), HandOn(), *middleware],
    )


def _client(redis_url: str, *, retries: int, waits: float = 0, client_name: str | None = None) -> "redis.Redis":
    return redis.Redis.from_url(
        redis_url,
        retry=Retry(ExponentialWithJitterBackoff(base=0.1, cap=1.0), retries),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        socket_timeout=waits + (5 if retries else 2),
        socket_connect_timeout=2 if retries else 1,
        socket_keepalive=True,
        client_name=client_name,
    )


def send(broker: Broker, message: Message) -> bool:
    """Enqueue, best effort: False (and a warning) where Redis cannot be reached; then the sweeper sends it again."""
    try:
        broker.enqueue(_raw(message))
    except (redis.RedisError, OSError) as error:
        not_sent(message.actor, error)
        return False
    return True


def send_group(
    broker: Broker, pipelines: Iterable[tuple[FetchBatch, CompressBatch | None]], *, done: GroupDone
) -> bool:
    """Send `fetch | compress` pipelines as one group that ends with `done`; False where Redis did not take them all.

    What a batch sends itself, to the slow queue, is counted apart from the group that it belongs to.
    """
    pipelines = list(pipelines)
    before = pipelines[0][0].takes_over
    barrier = barrier_of(str(done.request_id), done.group, done.dispatch_no, *([before] if before else []))
    last = {"barrier": barrier, "group_completion_callback": _raw(done).asdict()}
    messages = [
        _raw(fetch, pipe_target=_raw(compress, **last).asdict()) if compress else _raw(fetch, **last)
        for fetch, compress in pipelines
    ]
    try:
        broker.enqueue_all(messages, barrier=barrier, ttl_ms=BARRIER_TTL_MS)
    except (redis.RedisError, OSError) as error:
        not_sent(done.actor, error)
        return False
    return True


def _raw(message: Message, **options: Any) -> dramatiq.Message[Any]:
    return dramatiq.Message(
        queue_name=message.queue,
        actor_name=message.actor,
        args=(message.model_dump(mode="json"),),
        kwargs={},
        options=options | tracing.headers(),
    )
