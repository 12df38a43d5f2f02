"""What still waits in a real Valkey is not sent again; what is lost is."""

import time
from collections import Counter
from functools import partial
from typing import Any
from uuid import UUID

import orjson
import pytest

from services.notifier.reconcile import Reconciler
from services.notifier.sweep import Sweeper
from services.worker.dispatch import dispatch_group, dispatch_request
from shared import broker
from shared.broker import Broker, queues
from shared.broker.backlog import BARRIER_TTL_MS, Backlog
from shared.broker.queues import QUEUE
from shared.db import Database
from shared.ids import uuid7
from shared.lifecycle import WINDOW
from shared.messages import CompressBatch, DispatchGroup, DispatchRequest, FetchSlowBatch, GroupDone
from tests.integration.batches import compress_after, fetch_of
from tests.integration.notifier.conftest import finished
from tests.integration.seed import add_request, group_row, pass_time, sql

HOURS = 8


def queued(connected: Broker) -> Counter[str]:
    """How many messages wait, by queue."""
    keys: Any = connected.probe.keys(QUEUE + "*")
    return Counter({key.decode().removeprefix(QUEUE): int(connected.probe.llen(key)) for key in keys})


def age(connected: Broker, database: Database, request_id: UUID, seconds: float) -> None:
    """Let time pass for the request in the database, and for all that is in Valkey."""
    pass_time(database, request_id, seconds)
    sql(database, "UPDATE broker_epoch SET begun_at = begun_at - make_interval(secs => %(seconds)s)", seconds=seconds)
    probe: Any = connected.probe
    with probe.pipeline(transaction=False) as changes:
        for key in probe.keys(QUEUE + "*"):
            for index, raw in enumerate(probe.lrange(key, 0, -1)):
                message = orjson.loads(raw)
                message["message_timestamp"] -= round(seconds * 1000)
                changes.lset(key, index, orjson.dumps(message))
        changes.execute()
    for key in probe.keys("halftone:barrier:*"):
        probe.pexpire(key, max(1, probe.pttl(key) - round(seconds * 1000)))


def take_one(connected: Broker, queue: str) -> None:
    """A worker takes it, and is never heard of again."""
    assert connected.probe.lpop(QUEUE + queue)


def consume_dispatch(connected: Broker, database: Database) -> None:
    """What a worker does with the messages of `dispatch`."""
    probe: Any = connected.probe
    send_group = partial(broker.send_group, connected)
    while raw := probe.lpop(QUEUE + DispatchGroup.queue):
        message = orjson.loads(raw)
        payload = message["args"][0]
        if message["actor_name"] == DispatchGroup.actor:
            again = DispatchGroup.model_validate(payload)
            dispatch_group(
                database, send_group, again.request_id, group=again.group, seen=again.dispatch_no, window=WINDOW
            )
        else:
            dispatch_request(database, send_group, DispatchRequest.model_validate(payload).request_id, window=WINDOW)


@pytest.mark.parametrize("dispatching", [True, False], ids=["nothing is fetched", "no worker at all"])
def test_eight_hours_without_workers_leave_one_copy_of_each_message(
    database: Database, sweeping: Sweeper, connected: Broker, *, dispatching: bool
) -> None:
    request_id = add_request(database, images=700)
    dispatch_request(database, partial(broker.send_group, connected), request_id)
    before = queued(connected)
    assert before == {"quick": 4, "fetch": 28}
    for _ in range(HOURS * 12):
        age(connected, database, request_id, 300)
        sweeping.run_once()
        if dispatching:
            consume_dispatch(connected, database)
    after = queued(connected)
    assert after - Counter({"dispatch": 1}) == before  # and one that asks for the groups behind the window
    assert group_row(database, request_id)["dispatch_no"] == 1


def test_eight_hours_behind_those_that_hold_their_share_leave_one_copy_of_each_message(
    database: Database, sweeping: Sweeper, connected: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker looks past all that waits, time after time; of an account that holds its share it may take nothing."""
    monkeypatch.setattr(queues, "SEARCH_SECONDS", 0)
    monkeypatch.setattr(queues, "SEARCH_DEPTH", 3)
    requests = [add_request(database, images=160) for _ in range(2)]
    for request_id in requests:
        age(connected, database, requests[0], 300)
        dispatch_request(database, partial(broker.send_group, connected), request_id)
    connected.shares = {"fetch": 1, "quick": 1}
    connected.prefetch = {"fetch": 2, "quick": 2}
    consumers = [connected.consume(queue, prefetch=2, timeout=100) for queue in ("fetch", "quick")]
    assert all(next(consumer) for consumer in consumers)
    before = queued(connected)
    assert before == {"quick": 7, "fetch": 11}
    for _ in range(HOURS * 12):
        assert not any(next(consumer) for consumer in consumers)
        for request_id in requests:
            pass_time(database, request_id, 300)
        age(connected, database, uuid7(), 300)
        sweeping.run_once()
        consume_dispatch(connected, database)
    assert queued(connected) - Counter({"dispatch": 1}) == before


def test_without_workers_an_upload_is_asked_for_once_and_so_is_a_group_whose_messages_were_lost(
    database: Database, sweeping: Sweeper, connected: Broker
) -> None:
    waits, lost = add_request(database, images=1), add_request(database, images=129)
    dispatch_request(database, lambda *_, **__: True, lost)  # the broker took them, and was wiped
    for _ in range(100):
        for request_id in (waits, lost):
            pass_time(database, request_id, 300)
        age(connected, database, uuid7(), 300)
        sweeping.run_once()
    assert queued(connected) == {"dispatch": 3}


def test_messages_that_were_taken_and_lost_are_sent_again_although_others_wait(
    database: Database, sweeping: Sweeper, connected: Broker
) -> None:
    lost, other = add_request(database, images=1), add_request(database, images=1)
    send_group = partial(broker.send_group, connected)
    dispatch_request(database, send_group, lost)
    age(connected, database, lost, 61)
    dispatch_request(database, send_group, other)
    sweeping.run_once()
    assert queued(connected) == {"quick": 2}, "it still waits"
    take_one(connected, "quick")
    age(connected, database, lost, 61)
    sweeping.run_once()
    assert queued(connected) == {"quick": 1, "dispatch": 1}


def test_what_waits_for_compression_is_not_fetched_again(
    database: Database, sweeping: Sweeper, connected: Broker
) -> None:
    request_id = add_request(database, images=128)
    dispatch_request(database, partial(broker.send_group, connected), request_id)
    sql(database, "UPDATE image SET state = 'failed', error_code = 'x', error_detail = 'x' WHERE number <= 64")
    probe: Any = connected.probe
    for raw in probe.lrange(QUEUE + "fetch", 0, -1):
        probe.rpush(QUEUE + "compress", orjson.dumps(orjson.loads(raw)["options"]["pipe_target"]))
    probe.delete(QUEUE + "fetch", QUEUE + "quick")
    sql(database, "UPDATE image SET claimed_by = gen_random_uuid() WHERE state = 'pending'")
    for _ in range(10):
        age(connected, database, request_id, 600)
        sweeping.run_once()
    assert queued(connected) == {"compress": 4}
    probe.delete(QUEUE + "compress")
    age(connected, database, request_id, 60)
    sweeping.run_once()
    assert queued(connected) == {"dispatch": 1}


def test_a_slow_queue_of_others_does_not_hold_up_a_retry(
    database: Database, sweeping: Sweeper, connected: Broker
) -> None:
    request_id = add_request(database, images=1)
    slow = fetch_of(uuid7(), [1])
    deferred = FetchSlowBatch.after(slow)
    done = GroupDone(request_id=slow.request_id, group=1, dispatch_no=1)
    broker.send_group(connected, [(deferred, compress_after(deferred))], done=done)
    age(connected, database, request_id, 1)
    dispatch_request(database, partial(broker.send_group, connected), request_id)
    take_one(connected, "quick")
    age(connected, database, request_id, 61)
    sweeping.run_once()
    assert queued(connected) == {"fetch_slow": 1, "dispatch": 1}


def test_a_delivery_that_still_waits_is_not_sent_again_and_one_that_was_taken_is(
    database: Database, reconciler: Reconciler, sweeping: Sweeper, connected: Broker
) -> None:
    request_id = finished(database, reconciler)
    for _ in range(100):
        sweeping.run_once()
        age(connected, database, request_id, 300)
    assert queued(connected) == {"deliver": 1}
    take_one(connected, "deliver")
    sweeping.run_once()
    assert queued(connected) == {"deliver": 1}


def test_a_batch_for_the_slow_queue_does_not_count_for_its_group(connected: Broker) -> None:
    fetch = fetch_of(uuid7(), range(65, 81))
    done = GroupDone(request_id=fetch.request_id, group=1, dispatch_no=1)
    slow = FetchSlowBatch.after(fetch)
    for pipelines in ([(fetch, compress_after(fetch))] * 3, [(slow, CompressBatch.after(slow))]):
        assert broker.send_group(connected, pipelines, done=done)
    probe: Any = connected.probe
    assert sorted(int(probe.get(key)) for key in probe.keys("halftone:barrier:*")) == [1, 3]


def test_a_message_that_cannot_be_read_and_a_valkey_that_is_away_hold_nothing_back(
    connected: Broker, redis_url: str
) -> None:
    del redis_url
    group = DispatchGroup(request_id=uuid7(), group=1, dispatch_no=1)
    probe: Any = connected.probe
    probe.rpush(QUEUE + "fetch", b"garbage")
    probe.set(f"halftone:barrier:{group.request_id}:1:1", 1, px=BARRIER_TTL_MS)
    away = Backlog(broker.connect("redis://127.0.0.1:1", retries=0).probe)
    for backlog in (Backlog(connected.probe), away, Backlog()):
        assert (backlog.waited("fetch"), backlog.may_hold(group, ["fetch"])) == (0, set())
    probe.delete(QUEUE + "fetch")
    probe.rpush(QUEUE + "fetch", orjson.dumps({"message_timestamp": round(time.time() * 1000) - 5000}))
    assert Backlog(connected.probe).waited("fetch") == pytest.approx(5, abs=2)
    assert Backlog(connected.probe).may_hold(group, ["fetch", "quick"]) == {"fetch"}
