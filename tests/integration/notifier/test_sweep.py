"""What the sweeper repeats, and that two of them at once do it once."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import Session

from services.notifier import close, sweep
from services.notifier.reconcile import Reconciler
from services.notifier.sweep import (
    Sweeper,
    expire_requests,
    take_due_deliveries,
    take_due_groups,
    take_requests_to_dispatch,
)
from services.worker.dispatch import dispatch_request
from shared.db import Database
from shared.messages import Deliver, DispatchGroup, DispatchRequest, Message
from tests.integration.batches import Post
from tests.integration.notifier.conftest import finished
from tests.integration.seed import add_request, group_row, pass_time, request_row, sql, stop

Take = Callable[[Session, int], list[Any]]


def taken(database: Database, take: Take, limit: int = 100) -> list[Any]:
    return database.transact(lambda session: take(session, limit))


def overdue(database: Database, _: Reconciler) -> UUID:
    """A running request for which every timer and the deadline have come."""
    request_id = add_request(database, images=130)
    dispatch_request(database, Post(), request_id)
    sql(database, "UPDATE processing_request SET dispatch_at = now() WHERE id = %(id)s", id=request_id)
    pass_time(database, request_id, 25 * 3600)
    return request_id


@pytest.mark.parametrize(
    ("take", "prepare"),
    [
        (take_requests_to_dispatch, overdue),
        (take_due_groups, overdue),
        (expire_requests, overdue),
        (take_due_deliveries, finished),
    ],
)
def test_two_that_sweep_at_once_take_each_row_once_and_do_not_wait_for_each_other(
    database: Database, reconciler: Reconciler, take: Take, prepare: Callable[[Database, Reconciler], UUID]
) -> None:
    for _ in range(2):
        prepare(database, reconciler)
    with Session(database.engine) as session, session.begin():
        first = take(session, 1)
        second = taken(database, take)
    assert (len(first), len(second) > 0, set(first) & set(second)) == (1, True, set())
    assert taken(database, take) == []


def undispatched(database: Database, _: Reconciler) -> UUID:
    return add_request(database, images=1)


@pytest.mark.parametrize(
    ("prepare", "message", "lost_after"), [(undispatched, DispatchRequest, 30), (finished, Deliver, 60)]
)
def test_what_only_a_lost_message_could_have_done_is_sent_again_after_a_while(
    database: Database, sweeper: Sweeper, sent: list[Message],
    prepare: Callable[[Database, Reconciler], UUID], message: type[Message], lost_after: int,
) -> None:  # fmt: skip
    request_id = prepare(database, sweeper.reconciler)
    sent.clear()
    for times, seconds in ((1, 0), (1, 0), (2, lost_after + 1)):
        pass_time(database, request_id, seconds)
        sweeper.run_once()
        assert list(map(type, sent)) == [message] * times
    assert sent[0] == sent[1]


def test_a_group_whose_messages_were_lost_is_dispatched_again_and_again(
    database: Database, sweeper: Sweeper, sent: list[Message]
) -> None:
    request_id = add_request(database, images=1)
    dispatch_request(database, Post(), request_id)
    sweeper.run_once()
    assert sent == []
    for _ in range(3):
        pass_time(database, request_id, 61)
        sweeper.run_once()
    assert sent == [DispatchGroup(request_id=request_id, group=1, dispatch_no=1)] * 3


def test_a_deadline_closes_the_request_in_one_sweep(database: Database, sweeper: Sweeper) -> None:
    request_id = overdue(database, sweeper.reconciler)
    sweeper.run_once()
    request = request_row(database, request_id)
    assert (request["status"], request["failed"], request["stop_reason"]) == ("failed", 130, "expired")


def test_a_stopped_request_is_not_expired_too(database: Database) -> None:
    request_id = add_request(database, images=1)
    stop(database, request_id, "cancelled")
    pass_time(database, request_id, 25 * 3600)
    assert taken(database, expire_requests) == taken(database, take_requests_to_dispatch) == []


def test_a_killed_sweeper_leaves_the_groups_of_an_expired_request_to_the_next(
    database: Database, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(close, "GROUPS_AT_ONCE", 2)
    request_id = add_request(database, images=5 * 128)
    pass_time(database, request_id, 25 * 3600)
    assert taken(database, expire_requests) == [request_id]
    database.transact(lambda session: close.close(session, request_id, public_url=""))  # and then it was killed
    assert request_row(database, request_id)["open_groups"] == 3
    sweeper.run_once()
    request = request_row(database, request_id)
    assert (request["status"], request["failed"], request["open_groups"]) == ("failed", 640, 0)


def test_a_task_that_fails_holds_up_no_other(
    database: Database, sweeper: Sweeper, sent: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Session, __: int) -> list[UUID]:
        raise RuntimeError

    monkeypatch.setattr(sweep, "expire_requests", broken)
    request_id = add_request(database, images=1)
    sweeper.run_once()
    assert sent == [DispatchRequest(request_id=request_id)]
    assert group_row(database, request_id)["state"] == "waiting"
