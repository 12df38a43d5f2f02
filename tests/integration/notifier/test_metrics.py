"""The gauges of the notifier, against a real database and a real Valkey."""

import math
from pathlib import Path
from uuid import UUID

import pytest
import redis
from prometheus_client import REGISTRY

from services.notifier import metrics
from services.notifier.deliver import WebhookSender, deliver
from services.notifier.periodic import TimeBudget
from services.notifier.sweep import Sweeper
from services.worker.dispatch import dispatch_request
from shared import broker
from shared.blobs.disk import DiskBlobs
from shared.broker import Broker
from shared.broker.backlog import Backlog
from shared.broker.queues import QUEUE
from shared.db import Database
from shared.ids import uuid7
from shared.messages import DispatchRequest
from tests.integration.batches import Post
from tests.integration.seed import add_request, deliveries_of, sql


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_queues_are_measured_and_have_no_numbers_while_valkey_is_away(connected: Broker) -> None:
    for _ in range(3):
        broker.send(connected, DispatchRequest(request_id=uuid7()))
    head = connected.client.lindex(QUEUE + "dispatch", 0)
    assert isinstance(head, bytes)
    older = head.replace(b'"message_timestamp":', b'"message_timestamp":-')  # before 1970
    connected.client.lset(QUEUE + "dispatch", 0, older.decode())
    metrics.measure_queues(Backlog(connected.probe))
    assert value("halftone_queue_messages", queue="dispatch") == 3
    assert (value("halftone_queue_oldest_seconds", queue="dispatch") or 0) > 1e9
    assert (value("halftone_queue_messages", queue="deliver"), value("halftone_broker_up")) == (0, 1)
    metrics.measure_queues(Backlog(broker.connect("redis://127.0.0.1:1", retries=0).probe))
    assert (value("halftone_queue_messages", queue="dispatch"), value("halftone_broker_up")) == (None, 0)


def test_every_queue_is_measured(connected: Broker, valkey: "redis.Redis") -> None:
    del valkey  # empty
    metrics.measure_queues(Backlog(connected.probe))
    queues = {"dispatch", "quick", "fetch", "fetch_slow", "fetch_isolated", "compress", "compress_isolated"}
    measured = {sample.labels["queue"] for sample in next(iter(metrics.QUEUE_OLDEST.collect())).samples}
    assert measured == queues | {"notify", "deliver"}


def test_the_sweeper_measures_what_is_open(database: Database, sweeping: Sweeper) -> None:
    request_id = add_request(database, images=300)
    add_request(database, images=5)
    dispatch_request(database, Post(), request_id, window=128)
    sql(
        database, "UPDATE processing_request SET created_at = now() - interval '2 hours' WHERE id = %(i)s", i=request_id
    )
    sweeping.measure(TimeBudget(1, sweeping.stop))
    assert value("halftone_images_in_flight") == 128
    assert (value("halftone_requests_open"), value("halftone_images_open")) == (2, 305)
    assert value("halftone_oldest_unfinished_request_seconds") == pytest.approx(7200, abs=60)
    assert value("halftone_broker_up") == 1
    [now] = sql(database, "SELECT extract(epoch FROM now())::float8 AS now")
    assert value("halftone_measured_timestamp_seconds") == pytest.approx(now["now"], abs=60)


def test_the_room_of_a_store_is_asked_for_at_the_scrape(tmp_path: Path) -> None:
    metrics.watch_store(DiskBlobs(tmp_path / "store"))
    free, size = value("halftone_blob_store_free_bytes"), value("halftone_blob_store_size_bytes")
    assert free is not None
    assert size is not None
    assert 0 < free < size
    (tmp_path / "store").rename(tmp_path / "away")
    # NaN: no scrape fails because the store is away
    assert math.isnan(value("halftone_blob_store_free_bytes") or 0)


def test_how_late_a_delivery_begins_is_observed(sender: WebhookSender, request_id: UUID) -> None:
    sql(sender.database, "UPDATE delivery SET next_attempt_at = now() - interval '100 seconds'")
    before = value("halftone_delivery_lag_seconds_sum") or 0
    [delivery] = deliveries_of(sender.database, request_id)
    deliver(sender, delivery["id"])
    assert value("halftone_delivery_lag_seconds_sum") == pytest.approx(before + 100, abs=30)
