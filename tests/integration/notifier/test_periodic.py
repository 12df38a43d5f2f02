"""A round of the sweeper: how much it does, when it gives up, and what it leaves to the next."""

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from uuid import UUID

import pytest
import redis
from prometheus_client import REGISTRY
from sqlmodel import Session

from services.notifier import rules, sweep
from services.notifier.periodic import Turn, each
from services.notifier.sweep import Sweeper
from services.notifier.watch import Reconciler
from services.worker.dispatch import dispatch_request
from shared.broker.epoch import EpochKey
from shared.db import Database
from shared.messages import Deliver, DispatchGroup, DispatchRequest, Message
from tests.integration.batches import Post
from tests.integration.notifier.conftest import finished, reported
from tests.integration.seed import add_request, pass_time, request_row, sql

NOWHERE = EpochKey(redis.Redis.from_url("redis://127.0.0.1:1"))
MORE_THAN_A_BATCH = rules.MOST + 10


@pytest.fixture
def sweeper(reconciler: Reconciler, redis_url: str) -> Sweeper:
    epoch_key = EpochKey(redis.Redis.from_url(redis_url))
    epoch_key.write(reconciler.database.transact(rules.epoch))
    return Sweeper(reconciler=reconciler, epoch_key=epoch_key, seconds=5.0, stop=Event())


def sending(sweeper: Sweeper, send: Callable[[Message], bool]) -> Sweeper:
    return replace(sweeper, reconciler=replace(sweeper.reconciler, send=send))


def dispatched(database: Database) -> list[UUID]:
    """Requests for which a `DispatchRequest` is due in the future: the rule took them."""
    return [row["id"] for row in sql(database, "SELECT id FROM processing_request WHERE dispatch_at > now()")]


def test_a_rule_goes_on_while_it_finds_a_full_batch(
    database: Database, sweeper: Sweeper, sent: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "TURN_SECONDS", 60.0)
    requests = [add_request(database, images=1) for _ in range(MORE_THAN_A_BATCH)]
    assert not sweeper.sweep()
    assert {message.request_id for message in sent if isinstance(message, DispatchRequest)} == set(requests)


def test_a_rule_with_endless_work_leaves_time_to_the_others_and_the_rest_to_the_next_round(
    database: Database, sweeper: Sweeper, sent: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "TURN_SECONDS", 0.1)
    finished(database, sweeper.reconciler)
    sent.clear()
    request_id = add_request(database, images=450 * 128)
    sql(database, "UPDATE processing_request SET dispatch_at = NULL WHERE id = %(id)s", id=request_id)
    sql(database, "UPDATE image_group SET state = 'dispatched', reconcile_at = now() WHERE state = 'waiting'")
    assert sweeper.sweep()
    assert Deliver in map(type, sent)
    assert 0 < len(seen(sent)) < 450
    monkeypatch.setattr(sweep, "TURN_SECONDS", 60.0)
    pass_time(database, request_id, 31)
    sweeper.sweep()
    assert len(seen(sent)) == 450


def test_a_rule_whose_finding_took_all_its_time_acts_on_one_row_at_least(database: Database) -> None:
    stop = Event()

    def find(_: Session) -> list[int]:
        stop.set()
        return [1, 2, 3]

    assert each(database, find, lambda _: True, Turn(60, stop)) == 1


def seen(sent: list[Message]) -> set[int]:
    return {message.group for message in sent if isinstance(message, DispatchGroup)}


def test_after_one_message_that_cannot_be_sent_none_is_tried_in_this_round_but_done_groups_are_settled(
    database: Database, sweeper: Sweeper
) -> None:
    tried: list[Message] = []
    done, others = reported(database), [add_request(database, images=1) for _ in range(3)]
    dispatch_request(database, Post(), others[0])
    pass_time(database, done, 61)
    pass_time(database, others[0], 61)

    def refuse(message: Message) -> bool:
        tried.append(message)
        return False

    sending(sweeper, refuse).sweep()
    assert len(tried) == 1
    assert request_row(database, done)["status"] == "completed"


def test_while_the_broker_cannot_be_asked_nothing_is_taken_that_only_a_message_can_help(
    database: Database, sweeper: Sweeper, sent: list[Message]
) -> None:
    add_request(database, images=1)
    replace(sweeper, epoch_key=NOWHERE).sweep()
    assert (sent, dispatched(database)) == ([], [])
    sweeper.sweep()
    assert len(sent) == 1


def test_a_round_ends_when_the_process_is_to_stop(database: Database, sweeper: Sweeper) -> None:
    tried: list[Message] = []

    def send_and_stop(message: Message) -> bool:
        tried.append(message)
        sweeper.stop.set()
        return True

    for _ in range(3):
        add_request(database, images=1)
    sending(sweeper, send_and_stop).sweep()
    assert len(tried) == 1


def test_the_gauges_show_what_is_open_and_how_late_it_is(database: Database, sweeper: Sweeper) -> None:
    request_id = add_request(database, images=129)
    sql(database, "UPDATE processing_request SET dispatch_at = NULL")
    for _ in range(3):
        finished(database, sweeper.reconciler)
    sql(database, "UPDATE delivery SET status = 'exhausted' WHERE id = (SELECT min(id::text)::uuid FROM delivery)")
    sql(database, "UPDATE delivery SET next_attempt_at = now() - interval '90 s', enqueued_at = now()")
    sql(
        database,
        "UPDATE image_group SET reconcile_at = now() - number * interval '100 s' WHERE request_id = %(id)s",
        id=request_id,
    )
    sweep.Round(sweeper.reconciler, sweeper.epoch_key).measure(Turn(1, sweeper.stop))
    assert (gauge("requests_open"), gauge("groups_due")) == (1, 2)
    assert (gauge("deliveries", status="pending"), gauge("deliveries", status="exhausted")) == (2, 1)
    assert gauge("groups_oldest_due_seconds") == pytest.approx(200, abs=20)
    assert gauge("deliveries_oldest_due_seconds") == pytest.approx(90, abs=20)


def gauge(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"halftone_{name}", labels)
