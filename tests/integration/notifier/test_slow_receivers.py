"""Receivers that take every POST and never answer, before the notifier's own actors in a real `dramatiq.Worker`."""

from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event

import dramatiq
import pytest

from services.notifier.__main__ import connect
from services.notifier.actors import Actors
from services.notifier.deliver import WebhookSender
from services.notifier.receiver_queue import ReceiverQueue, Shares
from services.notifier.reconcile import Reconciler
from services.notifier.settings import NotifierSettings
from shared.broker import Broker, declare, send
from shared.db import Database
from shared.egress import Egress
from shared.messages import Deliver, GroupDone
from tests.integration.notifier.conftest import finished, reported
from tests.integration.seed import deliveries_of, request_row
from tests.origin import Exchange, Origin
from tests.stack import until

HOOK = "/hook"
THREADS, HOSTS = 16, 5


@pytest.fixture
def receivers() -> Iterator[list[Origin]]:
    """Each a host of its own, as ports count too, at one address."""
    with ExitStack() as stack:
        origins = [stack.enter_context(Origin()) for _ in range(HOSTS)]
        for origin in origins:
            origin.on(HOOK, silent)
        yield origins


def silent(exchange: Exchange) -> None:
    exchange.pause(60)


@pytest.fixture
def notifier(database: Database, reconciler: Reconciler, redis_url: str, receivers: list[Origin]) -> Iterator[Broker]:
    settings = NotifierSettings(database_url="postgresql://unused", redis_url=redis_url, threads=THREADS)
    stop, egress, broker = Event(), Egress(tuple(origin.place for origin in receivers)), connect(settings)
    queue = ReceiverQueue(Shares(host=settings.host_deliveries, threads=settings.deliveries), stop)
    declare(
        broker,
        Actors(reconciler=reconciler, sender=WebhookSender(database=database, egress=egress, queue=queue, seconds=30)),
    )
    worker = dramatiq.Worker(broker, worker_threads=settings.threads, worker_timeout=50)
    worker.start()
    yield broker
    stop.set()
    for origin in receivers:
        origin._stopping.set()
    worker.stop()
    egress.close()
    broker.close()


def test_a_group_is_reconciled_while_receivers_that_never_answer_hold_all_the_threads_they_can(
    database: Database, reconciler: Reconciler, notifier: Broker, receivers: list[Origin]
) -> None:
    for _ in range(3):
        for origin in receivers:
            request_id = finished(database, reconciler, origin.url(HOOK))
            send(notifier, Deliver(delivery_id=deliveries_of(database, request_id)[0]["id"]))
    until(lambda: posts(receivers) >= 2)
    request_id = reported(database)
    send(notifier, GroupDone(request_id=request_id, group=1, dispatch_no=1))
    until(lambda: request_row(database, request_id)["status"] == "completed")
    assert posts(receivers) == 2  # they have one address; none of them has had an answer


def posts(receivers: list[Origin]) -> int:
    return sum(origin.hits(HOOK) for origin in receivers)
