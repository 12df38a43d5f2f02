"""Images that no worker will report: of a stopped request, or lost with their last attempt."""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest
from sqlmodel import Session

from services.notifier import close
from services.notifier.periodic import TimeBudget
from services.notifier.reconcile import IMAGES_LOST, Reconciler
from services.notifier.sweep import Sweeper, expire_requests, stopped_requests
from services.worker.dispatch import dispatch_group, dispatch_request
from services.worker.settle import Result, failed, settle
from shared.db import Database, execute
from shared.messages import CloseRequest, Deliver, DispatchGroup, FetchBatch, Message
from tests.integration.batches import NOT_FOUND, done, fetch_isolated, report, take
from tests.integration.invariants import Invariants
from tests.integration.notifier.conftest import complete, dispatched
from tests.integration.race import overtaken, together
from tests.integration.seed import (
    add_request,
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
    assert (row["error_code"], row["claimed_by"], row["settled_at"] is None) == ("cancelled", None, False)
    request = request_row(database, request_id)
    counters = [request[name] for name in ("completed", "failed", "cancelled")]
    assert (request["status"], counters) == ("cancelled", [1, 1, 598])
    assert [event["type"] for event in events_of(database, request_id)] == ["request.cancelled"]


def test_some_groups_at_a_time_are_closed_and_a_message_goes_on(
    database: Database, reconciler: Reconciler, sent: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(close, "GROUPS_AT_ONCE", 2)
    request_id, post = dispatched(database, images=700)
    for batch in post.batches:
        if batch.group == 2:
            complete(database, batch)
    reconciler.run(request_id, 2, dispatch_no=1)  # so that a settled group lies between open ones
    sent.clear()
    stop(database, request_id, "cancelled")
    open_groups = []
    while not isinstance(sent[-1] if sent else None, Deliver):
        reconciler.close(request_id)
        open_groups.append(request_row(database, request_id)["open_groups"])
    assert open_groups == [4, 2, 0]
    assert sent[:-1] == [CloseRequest(request_id=request_id)] * 2
    assert states(database, request_id) == {"completed": 128, "cancelled": 572}
    reconciler.close(request_id)  # a message that comes twice
    assert len(sent) == 3


def _retried(database: Database) -> UUID:
    """200 images in their second run: the first 10 failed, in a group that completed 118 others."""
    request_id = add_request(database, images=200)
    sql(
        database,
        """
        UPDATE image SET state = CASE WHEN number <= 10 THEN 'failed' ELSE 'completed' END, attempts = 2,
            error_code = CASE WHEN number <= 10 THEN 'http_status' END, source_bytes = 3, rendition_bytes = 2,
            fetch_ms = 30, rendition_sha256 = CASE WHEN number > 10 THEN 'x' END
        """,
    )
    sql(
        database,
        """
        UPDATE image_group SET dispatch_no = CASE number WHEN 1 THEN -1 ELSE 1 END,
            state = CASE number WHEN 1 THEN 'waiting' ELSE 'settled' END,
            completed = CASE number WHEN 1 THEN 118 ELSE 72 END,
            source_bytes = CASE number WHEN 1 THEN 354 ELSE 216 END,
            rendition_bytes = CASE number WHEN 1 THEN 236 ELSE 144 END
        """,
    )
    counts = "run = 2, completed = 190, source_bytes = 570, rendition_bytes = 380, open_groups = 1"
    sql(database, f"UPDATE processing_request SET {counts}")
    sql(
        database,
        "INSERT INTO event (id, request_id, run, type, body) SELECT id, id, 1, 'request.completed', '' "
        "FROM processing_request",
    )
    return request_id


@pytest.mark.parametrize("reason", ["cancelled", "expired"])
def test_a_retry_that_is_stopped_before_its_groups_were_dispatched_adds_up(
    database: Database, reconciler: Reconciler, reason: str
) -> None:
    """Its images were not written since they failed, and what the groups completed counts on the request."""
    request_id = _retried(database)
    reconciler.run(request_id, 1, dispatch_no=1)  # a callback of the first run, too late
    assert group_row(database, request_id)["state"] == "waiting"
    stop(database, request_id, reason)

    for _ in range(2):
        reconciler.close(request_id)

    first = image_rows(database, request_id)[1]
    closed = "cancelled" if reason == "cancelled" else "failed"
    assert (first["state"], first["run"], first["attempts"]) == (closed, 2, 0)
    assert (first["fetch_ms"], first["settled_at"] is not None) == (None, True)
    assert first["error_code"] != "http_status"
    request = request_row(database, request_id)
    assert (request["completed"], request["source_bytes"], request["rendition_bytes"]) == (190, 570, 380)
    assert request[closed] == 10
    Invariants(database).check()


def test_two_huge_requests_are_closed_in_turn_and_one_that_is_held_holds_up_no_other(
    database: Database, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(close, "GROUPS_AT_ONCE", 1)
    held, *others = [add_request(database, images=300) for _ in range(3)]
    for request_id in (held, *others):
        stop(database, request_id, "cancelled")
    with Session(database.engine) as session, session.begin():
        execute(session, "SELECT 1 FROM processing_request WHERE id = %(id)s FOR UPDATE", {"id": held})
        sweeper.close_stopped_requests(TimeBudget(10, sweeper.stop))
    assert [request_row(database, request_id)["open_groups"] for request_id in (held, *others)] == [3, 0, 0]
    settled = [
        sql(database, "SELECT request_id FROM image_group WHERE state = 'settled' ORDER BY xmin::text::int8, number")
    ]
    turns = [row["request_id"] for row in settled[0]]
    assert turns == others * 3


def test_a_worker_that_holds_a_group_meanwhile_is_waited_for_and_counted(database: Database) -> None:
    request_id, post = dispatched(database, images=8)
    take(database, post.batches[0], range(1, 9))
    stop(database, request_id, "cancelled")
    overtaken(
        database,
        lambda session: settle(session, post.batches[0], [done(1), done(2)]),
        lambda session: close.close(session, request_id, public_url=""),
    )
    request = request_row(database, request_id)
    assert (request["completed"], request["cancelled"], request["status"]) == (2, 6, "cancelled")


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
    database: Database, sweeper: Sweeper, finished: tuple[int, ...], status: str
) -> None:
    request_id, post = dispatched(database, images=200)
    report(database, post.batches[0], [done(number) for number in finished])
    pass_time(database, request_id, 24 * 3600 + 1)
    assert database.transact(partial(expire_requests, limit=10)) == [request_id]
    assert database.transact(partial(stopped_requests, limit=10)) == [request_id]
    sweeper.run_once()
    assert request_row(database, request_id)["status"] == status
    assert image_rows(database, request_id)[2]["error_code"] == "expired"
    assert states(database, request_id)["failed"] == 200 - len(finished)


def test_five_attempts_that_never_reported_are_worker_lost_and_their_neighbours_go_on(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    (request_id, post), lost = dispatched(database, images=8), IMAGES_LOST._value.get()
    set_images(database, request_id, [3], attempts=4, isolated=True)
    take(database, post.batches[0], [3])
    reconciler.run(request_id, 1, dispatch_no=None)
    assert image_rows(database, request_id)[3]["state"] == "pending"
    pass_time(database, request_id, 121)
    reconciler.run(request_id, 1, dispatch_no=None)
    rows = image_rows(database, request_id)
    assert (rows[3]["state"], rows[3]["error_code"], rows[3]["claimed_by"]) == ("failed", "worker_lost", None)
    assert (rows[3]["settled_at"] is None, IMAGES_LOST._value.get()) == (False, lost + 1)
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
