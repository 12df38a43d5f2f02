"""One run of the sweeper: how much it does, when it gives up, and what it leaves to the next."""

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from sqlmodel import Session

from services.notifier import periodic, sweep
from services.notifier.periodic import TimeBudget, for_each
from services.notifier.sweep import Sweeper
from services.worker.dispatch import dispatch_request
from shared.db import Database
from shared.messages import Deliver, DispatchGroup, DispatchRequest, Message
from tests.integration.batches import Post
from tests.integration.notifier.conftest import NOWHERE, finished, reported
from tests.integration.seed import add_request, pass_time, request_row, sql


def sending(sweeper: Sweeper, send: Callable[[Message], bool]) -> Sweeper:
    return replace(sweeper, reconciler=replace(sweeper.reconciler, send=send))


def waiting(database: Database) -> list[UUID]:
    """Requests that are due to be dispatched: no sweeper has taken them."""
    return [row["id"] for row in sql(database, "SELECT id FROM processing_request WHERE dispatch_at <= now()")]


def groups_of(sent: list[Message]) -> set[int]:
    return {message.group for message in sent if isinstance(message, DispatchGroup)}


def test_a_task_goes_on_while_it_finds_a_full_batch(
    database: Database, sweeper: Sweeper, sent: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "TASK_SECONDS", 60.0)
    requests = [add_request(database, images=1) for _ in range(periodic.BATCH_ROWS + 10)]
    assert not sweeper.run_once()
    assert {message.request_id for message in sent if isinstance(message, DispatchRequest)} == set(requests)


def test_a_task_with_endless_work_leaves_time_to_the_others_and_the_rest_is_due_at_once(
    database: Database, sweeper: Sweeper, sent: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "TASK_SECONDS", 0.03)
    finished(database, sweeper.reconciler)
    sent.clear()
    request_id = add_request(database, images=150 * 128)
    sql(database, "UPDATE processing_request SET dispatch_at = NULL WHERE id = %(id)s", id=request_id)
    sql(database, "UPDATE image_group SET state = 'dispatched', reconcile_at = now() WHERE state = 'waiting'")
    assert sweeper.run_once()
    assert Deliver in map(type, sent)
    first = groups_of(sent)
    assert 0 < len(first) < 150
    sent.clear()
    monkeypatch.setattr(sweep, "TASK_SECONDS", 60.0)
    sweeper.run_once()
    assert groups_of(sent) == set(range(1, 151)) - first


@pytest.mark.parametrize(
    ("take", "give_back"),
    [
        (sweep.take_requests_to_dispatch, sweep.give_back_requests),
        (sweep.take_due_groups, sweep.give_back_groups),
        (sweep.take_due_deliveries, sweep.give_back_deliveries),
    ],
)
def test_rows_that_were_taken_and_not_acted_on_are_due_at_once(
    database: Database, sweeper: Sweeper, take: Any, give_back: Any
) -> None:
    for _ in range(3):
        dispatch_request(database, Post(), add_request(database, images=1))
        finished(database, sweeper.reconciler)
    sql(database, "UPDATE processing_request SET dispatch_at = now() WHERE finished_at IS NULL")
    sql(database, "UPDATE image_group SET reconcile_at = now() WHERE state <> 'settled'")
    stop = Event()
    acted: list[Any] = []

    def act(row: Any) -> bool:
        acted.append(row)
        stop.set()
        return True

    assert for_each(database, take, act, TimeBudget(60, stop), give_back=give_back) == 1
    assert len(acted) == 1
    rest = database.transact(lambda session: take(session, 10))
    assert (len(rest), acted[0] in rest) == (2, False)


def test_a_task_that_spent_all_its_time_taking_acts_on_one_row_at_least(database: Database) -> None:
    stop = Event()

    def take(_: Session, __: int, ___: int) -> list[int]:
        stop.set()
        return [1, 2, 3]

    assert for_each(database, take, lambda _: True, TimeBudget(60, stop)) == 1


def test_a_row_that_fails_does_not_hold_up_the_rows_behind_it(database: Database) -> None:
    acted: list[int] = []

    def act(row: int) -> bool:
        acted.append(row)
        if row == 1:
            raise RuntimeError
        return True

    assert for_each(database, lambda *_: [1, 2, 3], act, TimeBudget(60, Event())) == 3
    assert acted == [1, 2, 3]


def test_after_one_message_that_cannot_be_sent_no_more_are_tried_but_done_groups_are_settled(
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

    sending(sweeper, refuse).run_once()
    assert len(tried) == 1
    assert request_row(database, done)["status"] == "completed"
    assert set(waiting(database)) == set(others[1:])


def test_while_the_broker_cannot_be_asked_no_row_is_taken_that_only_a_message_can_help(
    database: Database, sweeper: Sweeper, sent: list[Message]
) -> None:
    request_id = add_request(database, images=1)
    replace(sweeper, epoch_key=NOWHERE).run_once()
    assert (sent, waiting(database)) == ([], [request_id])
    sweeper.run_once()
    assert len(sent) == 1


def test_a_run_ends_when_the_process_is_to_stop(database: Database, sweeper: Sweeper) -> None:
    tried: list[Message] = []

    def send_and_stop(message: Message) -> bool:
        tried.append(message)
        sweeper.stop.set()
        return True

    for _ in range(3):
        add_request(database, images=1)
    sending(sweeper, send_and_stop).run_once()
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
    sweeper.measure(TimeBudget(1, sweeper.stop))
    assert (gauge("requests_open"), gauge("groups_due")) == (1, 2)
    assert (gauge("deliveries", status="pending"), gauge("deliveries", status="exhausted")) == (2, 1)
    assert gauge("groups_oldest_due_seconds") == pytest.approx(200, abs=20)
    assert gauge("deliveries_oldest_due_seconds") == pytest.approx(90, abs=20)


def gauge(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"halftone_{name}", labels)
