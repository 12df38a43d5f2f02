"""A reconciler that keeps what it would send, a sweeper, and requests whose images are all done."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Event
from uuid import UUID

import pytest
import redis

from services.notifier.deliver import WebhookSender
from services.notifier.housekeeping import Housekeeper
from services.notifier.receiver_queue import ReceiverQueue, Shares
from services.notifier.reconcile import Reconciler
from services.notifier.settings import NotifierSettings
from services.notifier.sweep import Sweeper
from services.notifier.wiped_broker import epoch
from services.worker.dispatch import dispatch_request
from shared import broker
from shared.blobs import Blobs, output_key, source_key
from shared.blobs.disk import DiskBlobs
from shared.broker import Broker
from shared.broker.backlog import Backlog
from shared.broker.epoch import EpochKey
from shared.db import Database
from shared.egress import Egress
from shared.messages import FetchBatch, Message
from tests.integration.batches import Post, done, report
from tests.integration.seed import add_request, sql
from tests.origin import Origin

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


@pytest.fixture
def connected(redis_url: str) -> Iterator[Broker]:
    connected = broker.connect(redis_url, retries=0)
    yield connected
    connected.close()


@pytest.fixture
def sweeping(sweeper: Sweeper, connected: Broker) -> Sweeper:
    """It sends what it sends into Valkey."""
    send, backlog = partial(broker.send, connected), Backlog(connected.probe)
    return replace(sweeper, reconciler=replace(sweeper.reconciler, send=send, backlog=backlog))


class Watched(DiskBlobs):
    """Fails for chosen prefixes and records its calls."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.failing: dict[str, BaseException] = {}
        self.listed = 0
        self.ages: list[str] = []

    def delete_prefix(self, prefix: str) -> None:
        if failure := self.failing.get(prefix):
            raise failure
        super().delete_prefix(prefix)

    def folders(self) -> Iterator[str]:
        self.listed += 1
        return super().folders()

    def changed_at(self, folder: str) -> datetime | None:
        self.ages.append(folder)
        return super().changed_at(folder)


@pytest.fixture
def blobs(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "blobs")


@pytest.fixture
def receiver() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def sender(database: Database, receiver: Origin) -> Iterator[WebhookSender]:
    with closing(Egress((receiver.place,))) as egress:
        yield WebhookSender(
            database=database, egress=egress, queue=ReceiverQueue(Shares(host=2, threads=16), Event()), seconds=20.0
        )


@pytest.fixture
def request_id(database: Database, reconciler: Reconciler, receiver: Origin) -> UUID:
    """A finished request whose delivery is due."""
    return finished(database, reconciler, receiver.url("/hook"))


Housekeepers = Callable[..., Housekeeper]


@pytest.fixture
def housekeepers(database: Database, blobs: Watched, redis_url: str) -> Housekeepers:
    valkey = redis.Redis.from_url(redis_url)

    def make(database: Database = database, blobs: Blobs = blobs, **settings: float) -> Housekeeper:
        # A copy is not validated: with a negative age files that were just written are orphans.
        chosen = NotifierSettings(database_url="postgresql://unused", retention_days=30).model_copy(update=settings)
        return Housekeeper(database=database, blobs=blobs, settings=chosen, stop=Event(), valkey=valkey)

    return make


def put_files(blobs: Blobs, request_id: UUID) -> None:
    blobs.put(source_key(request_id, "5" * 64), b"source", durable=False)
    blobs.put(output_key(request_id, "a" * 64, "jpg"), b"output", durable=False)


def has_source(blobs: Blobs, request_id: UUID) -> bool:
    return blobs.exists(source_key(request_id, "5" * 64))


def known(database: Database) -> set[UUID]:
    return {row["id"] for row in sql(database, "SELECT id FROM processing_request")}


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
