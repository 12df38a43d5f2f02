from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import Any
from uuid import UUID

import pytest
import redis
from sqlmodel import Session

from services.notifier import rules
from services.notifier.sweep import Sweeper
from services.notifier.watch import Reconciler
from services.worker.dispatch import dispatch_request
from shared.broker.epoch import EpochKey, Known
from shared.db import Database
from shared.ids import uuid7
from shared.messages import Deliver, DispatchGroup, DispatchRequest, Message
from tests.integration.batches import Post
from tests.integration.notifier.conftest import finished
from tests.integration.race import overtaken, together
from tests.integration.seed import (
    add_request,
    deliveries_of,
    group_row,
    pass_time,
    request_row,
    sql,
    stop,
)

NOWHERE = EpochKey(redis.Redis.from_url("redis://127.0.0.1:1"))
Rule = Callable[[Session], list[Any]]


@pytest.fixture
def valkey(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def sweeper(reconciler: Reconciler, valkey: "redis.Redis") -> Sweeper:
    """Its Valkey knows the epoch."""
    epoch_key = EpochKey(valkey)
    epoch_key.write(reconciler.database.transact(rules.epoch))
    return Sweeper(reconciler=reconciler, epoch_key=epoch_key, seconds=5.0, stop=Event())


def overdue(database: Database, reconciler: Reconciler) -> UUID:
    """A request on which every rule acts that is for running ones."""
    request_id = add_request(database, images=130)
    dispatch_request(database, Post(), request_id)
    sql(database, "UPDATE processing_request SET dispatch_at = now() WHERE id = %(id)s", id=request_id)
    pass_time(database, request_id, 25 * 3600)
    return request_id


@pytest.mark.parametrize(
    ("rule", "prepare"),
    [
        (rules.requests_to_dispatch, overdue),
        (rules.groups_to_reconcile, overdue),
        (rules.expire_requests, overdue),
        (rules.deliveries_due, finished),
    ],
    ids=["dispatch", "look", "expire", "deliver"],
)
def test_a_rule_acts_once_on_a_row_when_two_sweep_at_once(
    database: Database, reconciler: Reconciler, rule: Rule, prepare: Callable[[Database, Reconciler], UUID]
) -> None:
    prepare(database, reconciler)
    first, second = overtaken(database, rule, rule)
    assert (len(first) > 0, second) == (True, [])
    assert database.transact(rule) == []


@pytest.mark.parametrize("rule", [rules.requests_to_dispatch, rules.expire_requests])
def test_requests_that_one_sweeper_holds_do_not_hold_up_another(
    database: Database, reconciler: Reconciler, rule: Rule
) -> None:
    one, two = overdue(database, reconciler), overdue(database, reconciler)
    with Session(database.engine) as session, session.begin():
        session.connection().exec_driver_sql("SELECT 1 FROM processing_request WHERE id = %s FOR UPDATE", (one,))
        assert database.transact(rule) == [two]


def test_groups_that_one_sweeper_holds_do_not_hold_up_another(database: Database, reconciler: Reconciler) -> None:
    request_id = overdue(database, reconciler)
    with Session(database.engine) as session, session.begin():
        session.connection().exec_driver_sql("SELECT 1 FROM image_group WHERE number = 1 FOR UPDATE")
        assert database.transact(rules.groups_to_reconcile) == [(request_id, 2)]


def test_a_request_whose_message_was_lost_is_dispatched_again_after_half_a_minute(
    database: Database, sweeper: Sweeper, sent: list[Message]
) -> None:
    request_id = add_request(database, images=1)
    sweeper.sweep()
    assert sent == [DispatchRequest(request_id=request_id)]
    sweeper.sweep()
    assert len(sent) == 1
    pass_time(database, request_id, 31)
    sweeper.sweep()
    assert len(sent) == 2


def test_a_group_whose_messages_were_lost_is_dispatched_again(
    database: Database, sweeper: Sweeper, sent: list[Message]
) -> None:
    request_id = add_request(database, images=1)
    dispatch_request(database, Post(), request_id)
    sweeper.sweep()
    assert sent == []
    pass_time(database, request_id, 61)
    sweeper.sweep()
    assert sent == [DispatchGroup(request_id=request_id, group=1, dispatch_no=1)]


def test_a_dispatch_group_that_was_lost_is_sent_again(
    database: Database, sweeper: Sweeper, sent: list[Message]
) -> None:
    request_id = add_request(database, images=1)
    dispatch_request(database, Post(), request_id)
    for _ in range(3):
        pass_time(database, request_id, 61)
        sweeper.sweep()
    assert sent == [DispatchGroup(request_id=request_id, group=1, dispatch_no=1)] * 3


def test_a_deadline_closes_the_request_in_one_sweep(database: Database, sweeper: Sweeper) -> None:
    request_id = overdue(database, sweeper.reconciler)
    sweeper.sweep()
    request = request_row(database, request_id)
    assert (request["status"], request["failed"], request["stop_reason"]) == ("failed", 130, "expired")


def test_a_stopped_request_is_not_expired_too(database: Database) -> None:
    request_id = add_request(database, images=1)
    stop(database, request_id, "cancelled")
    pass_time(database, request_id, 25 * 3600)
    assert database.transact(rules.expire_requests) == []
    assert database.transact(rules.requests_to_dispatch) == []


def test_a_delivery_whose_message_was_lost_is_nudged_once_a_minute(
    database: Database, sweeper: Sweeper, sent: list[Message]
) -> None:
    request_id = finished(database, sweeper.reconciler)
    sent.clear()
    delivery = Deliver(delivery_id=deliveries_of(database, request_id)[0]["id"])
    sweeper.sweep()
    sweeper.sweep()
    assert sent == [delivery]
    pass_time(database, request_id, 61)
    sweeper.sweep()
    assert sent == [delivery] * 2


def test_a_wiped_broker_makes_everything_open_due_once(
    database: Database, sweeper: Sweeper, sent: list[Message], valkey: "redis.Redis"
) -> None:
    request_id = add_request(database, images=1000)
    dispatch_request(database, Post(), request_id)
    before = database.transact(rules.epoch)
    sweeper.sweep()
    assert (sent, database.transact(rules.epoch)) == ([], before)
    valkey.flushall()
    sweeper.sweep()
    epoch = database.transact(rules.epoch)
    assert epoch != before
    assert sweeper.epoch_key.read() == Known(epoch)
    assert DispatchRequest(request_id=request_id) in sent
    assert {message.group for message in sent if isinstance(message, DispatchGroup)} == {1, 2, 3, 4}
    sent.clear()
    sweeper.sweep()
    assert (sent, database.transact(rules.epoch)) == ([], epoch)


def test_of_two_notifiers_one_begins_the_new_epoch(database: Database) -> None:
    seen = database.transact(rules.epoch)
    new = [uuid7(), uuid7()]
    first, second = overtaken(
        database,
        lambda session: rules.begin_epoch(session, seen=seen, new=new[0]),
        lambda session: rules.begin_epoch(session, seen=seen, new=new[1]),
    )
    assert (len(first), second) == (1, [])
    assert database.transact(rules.epoch) == new[0]


def test_many_sweepers_at_once_after_a_wipe_agree_on_one_epoch(
    database: Database, sweeper: Sweeper, valkey: "redis.Redis"
) -> None:
    valkey.flushall()
    together([sweeper.sweep] * 4)
    sweeper.sweep()
    assert sweeper.epoch_key.read() == Known(database.transact(rules.epoch))


def test_a_broker_that_cannot_be_asked_is_not_wiped(database: Database, sweeper: Sweeper) -> None:
    before = database.transact(rules.epoch)
    replace(sweeper, epoch_key=NOWHERE).sweep()
    assert database.transact(rules.epoch) == before


def test_a_rule_that_fails_holds_up_no_other(
    database: Database, sweeper: Sweeper, sent: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Session) -> list[UUID]:
        raise RuntimeError

    monkeypatch.setattr(rules, "expire_requests", broken)
    request_id = add_request(database, images=1)
    sweeper.sweep()
    assert sent == [DispatchRequest(request_id=request_id)]
    assert group_row(database, request_id)["state"] == "waiting"
