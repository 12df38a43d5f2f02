import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest

from services.notifier.reconcile import Reconciler
from services.notifier.sweep import close_expired_groups, expire_requests, take_due_groups
from services.worker.settle import Result, failed
from shared.db import Database
from shared.messages import FetchBatch, Message
from tests.integration.batches import NOT_FOUND, done, report, take
from tests.integration.notifier.conftest import dispatched
from tests.integration.race import together
from tests.integration.seed import (
    add_request,
    events_of,
    group_row,
    image_rows,
    pass_time,
    request_row,
    sql,
    stop,
)

ROUNDS = 25


def states(database: Database, request_id: UUID) -> Counter[str]:
    return Counter(row["state"] for row in image_rows(database, request_id).values())


def test_a_cancel_closes_what_is_not_settled(database: Database, reconciler: Reconciler) -> None:
    request_id, post = dispatched(database, images=20)
    take(database, post.batches[0], range(1, 9))
    report(database, post.batches[0], [done(1), failed(2, NOT_FOUND)])
    stop(database, request_id, "cancelled")
    reconciler.run(request_id, 1, dispatch_no=None)
    rows = image_rows(database, request_id)
    assert states(database, request_id) == {"completed": 1, "failed": 1, "cancelled": 18}
    assert (rows[3]["error_code"], rows[3]["claimed_by"]) == ("cancelled", None)
    request = request_row(database, request_id)
    assert (request["status"], request["completed"], request["failed"], request["cancelled"]) == ("cancelled", 1, 1, 18)
    assert [event["type"] for event in events_of(database, request_id)] == ["request.cancelled"]


def test_a_cancel_closes_groups_that_were_never_dispatched(database: Database, reconciler: Reconciler) -> None:
    request_id = add_request(database, images=300)
    stop(database, request_id, "cancelled")
    for group in (1, 2, 3):
        reconciler.run(request_id, group, dispatch_no=None)
    assert request_row(database, request_id)["status"] == "cancelled"
    assert states(database, request_id) == {"cancelled": 300}


def test_a_cancelled_request_is_cancelled_even_if_everything_was_done_in_time(
    database: Database, reconciler: Reconciler
) -> None:
    request_id, post = dispatched(database, images=2)
    stop(database, request_id, "cancelled")
    report(database, post.batches[0], [done(1), done(2)])
    reconciler.run(request_id, 1, dispatch_no=1)
    assert request_row(database, request_id)["status"] == "cancelled"


@pytest.mark.parametrize(("finished", "status"), [((), "failed"), ((1,), "completed")])
def test_the_deadline_fails_what_is_left(
    database: Database, reconciler: Reconciler, finished: tuple[int, ...], status: str
) -> None:
    request_id, post = dispatched(database, images=200)
    report(database, post.batches[0], [done(number) for number in finished])
    pass_time(database, request_id, 24 * 3600 + 1)
    assert database.transact(partial(expire_requests, limit=10)) == [request_id]
    database.transact(partial(close_expired_groups, limit=10))
    for _, group in database.transact(partial(take_due_groups, limit=10)):
        reconciler.run(request_id, group, dispatch_no=None)
    assert request_row(database, request_id)["status"] == status
    assert image_rows(database, request_id)[2]["error_code"] == "expired"
    assert states(database, request_id)["failed"] == 200 - len(finished)


def test_cancelling_against_settling_always_adds_up(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    """In whatever order: every image is settled once, and every counter agrees."""
    for _ in range(ROUNDS):
        request_id, post = dispatched(database, images=24)
        for batch in post.batches:
            take(database, batch, [image.number for image in batch.images])
        again = partial(reconciler.run, request_id, 1, dispatch_no=None)
        calls: list[Callable[[], object]] = [partial(stop, database, request_id, "cancelled"), again, again]
        calls += [partial(report, database, batch, _results(batch)) for batch in post.batches]
        random.shuffle(calls)
        together(calls)
        again()
        _adds_up(database, request_id)
    assert len(sent) == len({message.model_dump_json() for message in sent})


def _results(batch: FetchBatch) -> list[Result]:
    first, *others = (image.number for image in batch.images)
    return [failed(first, NOT_FOUND), *(done(number) for number in others)]


def _adds_up(database: Database, request_id: UUID) -> None:
    request, group = request_row(database, request_id), group_row(database, request_id)
    counted = states(database, request_id)
    for counters in (request, group):
        names = ("completed", "failed", "cancelled")
        assert {name: counters[name] for name in names if counters[name]} == counted
        assert sum(counters[name] for name in names) == 24
        assert counters["source_bytes"] == 1000 * counted["completed"]
        assert counters["rendition_bytes"] == 400 * counted["completed"]
    assert (request["status"], group["state"]) in {("cancelled", "settled"), ("completed", "settled")}
    assert len(events_of(database, request_id)) == 1
    assert sql(database, "SELECT 1 FROM image WHERE claimed_by IS NOT NULL") == []
