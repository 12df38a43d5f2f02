from collections.abc import Sequence
from datetime import UTC, datetime
from typing import LiteralString
from uuid import UUID

import orjson
import pytest
from sqlmodel import Session

from services.notifier.reconcile import Reconciler, reconcile
from services.status.queries import FIND, found_of
from services.worker.dispatch import dispatch_group
from services.worker.settle import due_again, failed, settle
from shared.db import Database, connection_of, execute
from shared.messages import Deliver, DispatchGroup, DispatchRequest, Message
from shared.schemas.api import request_view, timestamp
from tests.integration.batches import NOT_FOUND, done, report, take
from tests.integration.notifier.conftest import HOOK, PUBLIC_URL, complete, dispatched, reported
from tests.integration.race import overtaken, together
from tests.integration.seed import (
    add_request,
    deliveries_of,
    events_of,
    group_row,
    request_row,
    sql,
)


def test_a_group_whose_images_are_settled_is_settled_and_its_counters_go_to_the_request(
    database: Database, reconciler: Reconciler
) -> None:
    request_id, post = dispatched(database, images=130)
    for batch in post.batches[:16]:
        complete(database, batch)
    reconciler.run(request_id, 1, dispatch_no=1)
    group, request = group_row(database, request_id), request_row(database, request_id)
    assert (group["state"], group["reconcile_at"], group["in_flight"]) == ("settled", None, 0)
    assert (request["status"], request["completed"], request["source_bytes"]) == ("processing", 128, 128_000)
    assert events_of(database, request_id) == []


@pytest.mark.parametrize(
    ("failing", "status", "webhook_url"), [((8,), "completed", HOOK), (range(1, 9), "failed", None)]
)
def test_the_last_group_finishes_the_request_with_its_event_and_its_delivery(
    database: Database, reconciler: Reconciler, sent: list[Message],
    failing: Sequence[int], status: str, webhook_url: str | None,
) -> None:  # fmt: skip
    request_id, post = dispatched(database, images=8, webhook_url=webhook_url)
    take(database, post.batches[0], range(1, 9))
    report(database, post.batches[0], [failed(n, NOT_FOUND) if n in failing else done(n) for n in range(1, 9)])
    reconciler.run(request_id, 1, dispatch_no=1)
    request = request_row(database, request_id)
    assert (request["status"], request["failed"], request["completed"]) == (status, len(failing), 8 - len(failing))
    assert (request["finished_at"] is None, request["dispatch_at"]) == (False, None)
    assert [(event["run"], event["type"]) for event in events_of(database, request_id)] == [(1, f"request.{status}")]
    deliveries = deliveries_of(database, request_id)
    assert [(row["url"], row["status"], row["attempt"], row["due_in"] <= 0) for row in deliveries] == (
        [(HOOK, "pending", 0, True)] if webhook_url else []
    )
    assert sent == [Deliver(delivery_id=row["id"]) for row in deliveries]


def test_a_callback_that_comes_twice_or_late_changes_nothing(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    request_id, post = dispatched(database, images=8)
    complete(database, post.batches[0])
    for _ in range(3):
        reconciler.run(request_id, 1, dispatch_no=1)
    request = request_row(database, request_id)
    assert (request["completed"], len(events_of(database, request_id)), len(sent)) == (8, 1, 1)


def test_reconciling_the_last_group_twice_at_once_finishes_the_request_once(database: Database) -> None:
    request_id, post = dispatched(database, images=8)
    complete(database, post.batches[0])
    first, second = overtaken(
        database,
        lambda session: reconcile(session, request_id, 1, dispatch_no=1, public_url=""),
        lambda session: reconcile(session, request_id, 1, dispatch_no=None, public_url=""),
    )
    assert (type(first), second) == (Deliver, None)
    assert len(events_of(database, request_id)) == 1


def test_the_last_two_groups_reconciled_at_once_finish_the_request_once(database: Database) -> None:
    request_id, post = dispatched(database, images=130)
    for batch in post.batches:
        complete(database, batch)
    first, second = overtaken(
        database,
        lambda session: reconcile(session, request_id, 1, dispatch_no=1, public_url=""),
        lambda session: reconcile(session, request_id, 2, dispatch_no=1, public_url=""),
    )
    assert (first, type(second)) == (None, Deliver)
    request = request_row(database, request_id)
    assert (request["status"], request["completed"], len(events_of(database, request_id))) == ("completed", 130, 1)


def test_many_at_once_count_every_group_once(database: Database, reconciler: Reconciler, sent: list[Message]) -> None:
    request_id, post = dispatched(database, images=500)
    for batch in post.batches:
        complete(database, batch)
    together([lambda n=n: reconciler.run(request_id, n, dispatch_no=1) for n in (1, 2, 3, 4, 4, 3)])  # type: ignore[misc]
    request = request_row(database, request_id)
    assert (request["completed"], len(events_of(database, request_id))) == (500, 1)
    assert [type(message) for message in sent] == [Deliver]


def test_reconciling_that_waited_for_the_last_settle_finds_it(database: Database) -> None:
    request_id, post = dispatched(database, images=8)
    results = [done(number) for number in range(1, 9)]
    overtaken(
        database,
        lambda session: settle(session, post.batches[0], results),
        lambda session: reconcile(session, request_id, 1, dispatch_no=1, public_url=""),
    )
    assert request_row(database, request_id)["status"] == "completed"


def test_a_settled_group_makes_room_for_those_that_wait(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    request_id, post = dispatched(database, images=700)
    for batch in post.batches[:16]:
        complete(database, batch)
    reconciler.run(request_id, 1, dispatch_no=1)
    assert sent == [DispatchRequest(request_id=request_id)]
    request = request_row(database, request_id)
    assert (request["dispatch_at"] - request["now"]).total_seconds() <= 5


def test_images_that_are_due_are_to_be_dispatched_again(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    request_id, post = dispatched(database, images=32)
    complete(database, post.batches[0])
    reconciler.run(request_id, 1, dispatch_no=1)
    assert sent == [DispatchGroup(request_id=request_id, group=1, dispatch_no=1)]
    assert 20 < group_row(database, request_id)["reconcile_in"] <= 30


@pytest.mark.parametrize("images", [128, 700])
def test_a_group_whose_images_are_not_due_is_reconciled_when_the_first_is_and_does_not_hold_up_those_that_wait(
    database: Database, reconciler: Reconciler, sent: list[Message], images: int
) -> None:
    request_id, post = dispatched(database, images=images)
    for batch in post.batches[:16]:
        numbers = [image.number for image in batch.images]
        take(database, batch, numbers)
        report(database, batch, [due_again(number, delay=20 if number == 9 else 300) for number in numbers])
    reconciler.run(request_id, 1, dispatch_no=1)
    assert sent == ([DispatchRequest(request_id=request_id)] if images == 700 else [])
    assert 15 < group_row(database, request_id)["reconcile_in"] <= 20


def test_a_callback_before_the_images_are_reported_waits_for_their_claim(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    request_id, post = dispatched(database, images=8)
    take(database, post.batches[0], range(1, 9))
    reconciler.run(request_id, 1, dispatch_no=1)
    assert (sent, group_row(database, request_id)["state"]) == ([], "dispatched")
    assert 110 < group_row(database, request_id)["reconcile_in"] <= 120


def test_a_stale_callback_settles_but_never_dispatches(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    request_id, post = dispatched(database, images=8)
    dispatch_group(database, post, request_id, group=1, seen=1)
    reconciler.run(request_id, 1, dispatch_no=1)
    assert sent == []
    complete(database, post.batches[0])
    reconciler.run(request_id, 1, dispatch_no=1)
    assert request_row(database, request_id)["status"] == "completed"


def test_a_waiting_group_is_left_to_the_window(database: Database, reconciler: Reconciler, sent: list[Message]) -> None:
    request_id, _ = dispatched(database, images=700)
    sql(database, "UPDATE image_group SET reconcile_at = now() WHERE number = 6")
    reconciler.run(request_id, 6, dispatch_no=None)
    group = group_row(database, request_id, 6)
    assert (sent, group["state"], group["reconcile_at"]) == ([], "waiting", None)


def test_reconciling_an_unknown_request_or_group_does_nothing(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    request_id, _ = dispatched(database, images=1)
    reconciler.run(request_id, 7, dispatch_no=1)
    reconciler.run(UUID(int=1), 1, dispatch_no=1)
    assert sent == []


def test_the_event_carries_the_request_as_get_shows_it(database: Database, reconciler: Reconciler) -> None:
    request_id, post = dispatched(database, images=8)
    take(database, post.batches[0], range(1, 9))
    report(database, post.batches[0], [failed(8, NOT_FOUND), *(done(number) for number in range(1, 8))])
    reconciler.run(request_id, 1, dispatch_no=1)
    [row] = database.transact(lambda session: connection_of(session).execute(FIND, {"ids": [request_id]}).fetchall())
    found = found_of(row)
    body = orjson.loads(events_of(database, request_id)[0]["body"])
    assert body["data"] == request_view(found.request, found.counts, public_url=PUBLIC_URL, now=datetime.now(UTC))
    assert body["type"] == "request.completed"
    assert body["timestamp"] == body["data"]["finished_at"] == timestamp(found.request.finished_at)
    assert (body["data"]["progress"], body["data"]["outcome"], body["data"]["eta_seconds"]) == (1.0, "partial", None)


def test_the_largest_event_stays_below_20_kilobytes(database: Database, reconciler: Reconciler) -> None:
    longest = "https://shop.example/" + "ü" * 2000
    request_id = add_request(database, images=1, webhook_url=longest)
    sql(database, "UPDATE image SET state = 'failed', error_code = 'timeout', error_detail = %(text)s", text="x" * 500)
    sql(database, "UPDATE image_group SET failed = 1")
    reconciler.run(request_id, 1, dispatch_no=None)
    assert len(events_of(database, request_id)[0]["body"].encode()) < 20_000


def test_the_event_is_not_visible_before_the_terminal_state(database: Database) -> None:
    request_id = reported(database, webhook_url=HOOK)
    with Session(database.engine) as session, session.begin():
        reconcile(session, request_id, 1, dispatch_no=1, public_url="")
        session.flush()
        assert request_row(database, request_id)["status"] == "processing"
        assert events_of(database, request_id) == deliveries_of(database, request_id) == []
    assert request_row(database, request_id)["status"] == "completed"
    assert len(events_of(database, request_id)) == len(deliveries_of(database, request_id)) == 1


def test_a_reconcile_that_fails_leaves_nothing_behind(database: Database) -> None:
    request_id = reported(database, webhook_url=HOOK)
    with Session(database.engine) as session:
        reconcile(session, request_id, 1, dispatch_no=1, public_url="")
        session.rollback()
    assert request_row(database, request_id)["completed"] == 0
    assert events_of(database, request_id) == []


def test_the_rate_is_marked_at_most_every_half_a_minute_and_the_mark_before_is_kept(
    database: Database, reconciler: Reconciler
) -> None:
    request_id, post = dispatched(database, images=500)
    for batch in post.batches:
        complete(database, batch)
    began = request_row(database, request_id)["started_at"]

    def marks(group: int) -> tuple[bool, int, bool, int]:
        """Whether the last mark is new, whether the one before it is the beginning, and what each of them counts."""
        reconciler.run(request_id, group, dispatch_no=1)
        row = request_row(database, request_id)
        is_new = (row["now"] - row["mark_at"]).total_seconds() < 20
        return is_new, row["mark_settled"], row["previous_mark_at"] == began, row["previous_mark_settled"]

    assert marks(1) == (True, 500, True, 0)
    sql(database, "UPDATE processing_request SET mark_at = mark_at - interval '25 s', mark_settled = 128")
    assert marks(2) == (False, 128, True, 0)
    sql(database, "UPDATE processing_request SET mark_at = mark_at - interval '6 s'")
    assert marks(3) == (True, 500, False, 128)


def test_settling_a_group_of_a_huge_request_reads_no_other_group(database: Database) -> None:
    """7,995 groups wait and four others are dispatched, just inserted and not analyzed."""
    request_id = add_request(database, images=128)
    sql(
        database,
        """
        INSERT INTO image_group (request_id, number, state, dispatch_no, images, reconcile_at)
        SELECT %(id)s, n, CASE WHEN n <= 5 THEN 'dispatched' ELSE 'waiting' END, (n <= 5)::int, 128,
               CASE WHEN n <= 5 THEN now() + interval '60 s' END
        FROM generate_series(2, 8000) AS n
        """,
        id=request_id,
    )
    sql(database, "UPDATE processing_request SET open_groups = 8000, status = 'processing', started_at = now()")
    sql(database, "UPDATE image SET state = 'completed', rendition_sha256 = 'a'")
    sql(database, "UPDATE image_group SET state = 'dispatched', dispatch_no = 1, completed = 128 WHERE number = 1")
    sql(database, "UPDATE image_group SET completed = 2 WHERE number = 3")
    with Session(database.engine) as session, session.begin():
        before = _rows_read(session)
        assert reconcile(session, request_id, 1, dispatch_no=1, public_url="") == DispatchRequest(request_id=request_id)
        assert _rows_read(session) - before < 50
    request = request_row(database, request_id)
    assert (request["open_groups"], request["completed"], request["mark_settled"]) == (7999, 128, 130)


def _rows_read(session: Session) -> int:
    """Rows and index entries of `image_group` that this transaction has read so far."""
    statement: LiteralString = """
        SELECT sum(pg_stat_get_xact_tuples_returned(c.oid) + pg_stat_get_xact_tuples_fetched(c.oid))::int AS read
        FROM pg_class c
        WHERE c.oid = 'image_group'::regclass
           OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'image_group'::regclass)
    """
    return int(execute(session, statement)[0]["read"])
