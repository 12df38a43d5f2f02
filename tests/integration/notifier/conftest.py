"""A reconciler that keeps what it would send, a sweeper, and requests whose images are all done."""

from collections.abc import Iterator
from threading import Event
from uuid import UUID

import pytest
import redis

from services.notifier.reconcile import Reconciler
from services.notifier.sweep import Sweeper
from services.notifier.wiped_broker import epoch
from services.worker.dispatch import dispatch_request
from shared.broker.epoch import EpochKey
from shared.db import Database
from shared.messages import FetchBatch, Message
from tests.integration.batches import Post, done, report
from tests.integration.seed import add_request

PUBLIC_URL = "https://shop.example"
HOOK = f"{PUBLIC_URL}/hook"
NOWHERE = EpochKey(redis.Redis.from_url("redis://127.0.0.1:1"))


@pytest.fixture
def sent() -> list[Message]:
    """What the notifier sent, in order."""
    return []


@pytest.fixture
def reconciler(database: Database, sent: list[Message]) -> Reconciler:
    def send(message: Message) -> bool:
        sent.append(message)
        return True

    return Reconciler(database=database, send=send, public_url=PUBLIC_URL)


@pytest.fixture
def valkey(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def sweeper(reconciler: Reconciler, valkey: "redis.Redis") -> Sweeper:
    """Its Valkey knows the epoch."""
    epoch_key = EpochKey(valkey)
    epoch_key.write(reconciler.database.transact(epoch))
    return Sweeper(reconciler=reconciler, epoch_key=epoch_key, seconds=5.0, stop=Event())


def dispatched(database: Database, *, images: int, webhook_url: str | None = HOOK) -> tuple[UUID, Post]:
    """A request whose window is full, and the messages that were sent for it."""
    request_id, post = add_request(database, images=images, webhook_url=webhook_url), Post()
    dispatch_request(database, post, request_id)
    return request_id, post


def complete(database: Database, batch: FetchBatch) -> None:
    report(database, batch, [done(image.number) for image in batch.images])


def reported(database: Database, *, webhook_url: str | None = None) -> UUID:
    """A request whose one group waits to be reconciled."""
    request_id, post = dispatched(database, images=1, webhook_url=webhook_url)
    complete(database, post.batches[0])
    return request_id


def finished(database: Database, reconciler: Reconciler, webhook_url: str | None = HOOK) -> UUID:
    """A finished request whose delivery is due; None: without one."""
    request_id = reported(database, webhook_url=webhook_url)
    reconciler.run(request_id, 1, dispatch_no=1)
    return request_id
