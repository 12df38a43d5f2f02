"""Images that no worker will report: of a stopped request, or lost with their last attempt."""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest

from services.notifier.reconcile import Reconciler
from services.notifier.sweep import close_expired_groups, expire_requests, take_due_groups
from services.worker.dispatch import dispatch_group, dispatch_request
from services.worker.settle import Result, failed
from shared.db import Database
from shared.messages import DispatchGroup, FetchBatch, Message
from tests.integration.batches import NOT_FOUND, done, fetch_isolated, report, take
from tests.integration.notifier.conftest import complete, dispatched
from tests.integration.race import together
from tests.integration.seed import (
    events_of,
    group_row,
    image_rows,
    pass_time,
    request_row,
    set_images,
    sql,
    stop,
)

ROUNDS = 25


def states(database: Database, request_id: UUID) -> Counter[str]:
    return Counter(row["state"] for row in image_rows(database, request_id).values())


def test_a_cancel_closes_what_is_not_settled_also_in_groups_that_were_never_dispatched(
    database: Database, reconciler: Reconciler
) -> None:
    request_id, post = dispatched(database, images=600)
    take(database, post.batches[0], range(1, 9))
    report(database, post.batches[0], [done(1), failed(2, NOT_FOUND)])
    stop(database, request_id, "cancelled")
    for group in range(1, 6):
        reconciler.run(request_id, group, dispatch_no=None)
    row = image_rows(database, request_id)[3]
    assert states(database, request_id) == {"completed": 1, "failed": 1, "cancelled": 598}
    assert (row["error_code"], row["claimed_by"]) == ("cancelled", None)
    request = request_row(database, request_id)
    counters = [request[name] for name in ("completed", "failed", "cancelled")]
    assert (request["status"], counters) == ("cancelled", [1, 1, 598])
    assert [event["type"] for event in events_of(database, request_id)] == ["request.cancelled"]


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


def test_five_attempts_that_never_reported_are_worker_lost_and_their_neighbours_go_on(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    request_id, post = dispatched(database, images=8)
    set_images(database, request_id, [3], attempts=4, isolated=True)
    take(database, post.batches[0], [3])
    reconciler.run(request_id, 1, dispatch_no=None)
    assert image_rows(database, request_id)[3]["state"] == "pending"
    pass_time(database, request_id, 121)
    reconciler.run(request_id, 1, dispatch_no=None)
    rows = image_rows(database, request_id)
    assert (rows[3]["state"], rows[3]["error_code"], rows[3]["claimed_by"]) == ("failed", "worker_lost", None)
    assert {row["state"] for number, row in rows.items() if number != 3} == {"pending"}
    assert group_row(database, request_id)["failed"] == 1
    assert sent[-1] == DispatchGroup(request_id=request_id, group=1, dispatch_no=1)


def test_a_fifth_attempt_that_was_lost_in_a_shared_batch_is_repeated_in_isolation(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    request_id, post = dispatched(database, images=8)
    set_images(database, request_id, [3, 4], attempts=4)
    take(database, post.batches[0], [3, 4])
    pass_time(database, request_id, 121)
    reconciler.run(request_id, 1, dispatch_no=None)
    assert {row["state"] for row in image_rows(database, request_id).values()} == {"pending"}
    dispatch_group(database, post, request_id, group=1, seen=1)
    isolated = [batch for batch in post.batches if batch.isolated]
    assert [[image.number for image in batch.images] for batch in isolated] == [[3], [4]]
    assert take(database, isolated[0], [3]) == {3: 5}
    report(database, isolated[0], [done(3)])
    take(database, isolated[1], [4])
    pass_time(database, request_id, 121)
    reconciler.run(request_id, 1, dispatch_no=None)
    rows = image_rows(database, request_id)
    assert (rows[3]["state"], rows[4]["error_code"]) == ("completed", "worker_lost")


def test_the_last_image_that_is_lost_finishes_the_request(database: Database, reconciler: Reconciler) -> None:
    request_id, post = dispatched(database, images=1)
    take(database, post.batches[-1], [1])
    for _ in range(4):
        pass_time(database, request_id, 121)
        take(database, fetch_isolated(request_id, 1), [1])
    pass_time(database, request_id, 121)
    reconciler.run(request_id, 1, dispatch_no=None)
    assert request_row(database, request_id)["status"] == "failed"


def test_a_group_that_waits_for_room_does_not_lose_an_image_whose_last_attempt_is_lost(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    request_id, post = dispatched(database, images=700)
    for batch in post.batches[1:8]:
        complete(database, batch)
    report(database, post.batches[0], [done(number) for number in range(2, 17)])
    sql(database, "UPDATE image_group SET state = 'waiting', reconcile_at = NULL WHERE number = 1")
    set_images(database, request_id, [1], attempts=4)
    take(database, post.batches[0], [1])  # the old message comes after all, and its worker dies
    reconciler.run(request_id, 1, dispatch_no=1)
    assert 110 < group_row(database, request_id, 1)["reconcile_in"] <= 120
    pass_time(database, request_id, 121)
    sql(database, "UPDATE image_group SET reconcile_at = NULL WHERE number = 1")
    dispatch_request(database, post, request_id)
    assert group_row(database, request_id, 1)["reconcile_in"] <= 0
    reconciler.run(request_id, 1, dispatch_no=None)
    complete(database, post.batches[16])  # makes room
    dispatch_request(database, post, request_id)
    assert [image.number for batch in post.batches if batch.isolated for image in batch.images] == [1]


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
