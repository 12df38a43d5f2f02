from datetime import UTC, datetime

import orjson
from sqlmodel import Session

from services.notifier.reconcile import Reconciler, reconcile
from services.status.queries import find_request
from services.worker.settle import failed
from shared.db import Database
from shared.schemas.api import request_view, timestamp
from shared.schemas.tables import DEFAULT_ACCOUNT
from tests.integration.batches import NOT_FOUND, done, report, take
from tests.integration.notifier.conftest import HOOK, PUBLIC_URL, dispatched, reported
from tests.integration.seed import add_request, deliveries_of, events_of, request_row, sql


def test_the_event_carries_the_request_as_get_shows_it(database: Database, reconciler: Reconciler) -> None:
    request_id, post = dispatched(database, images=8)
    take(database, post.batches[0], range(1, 9))
    report(database, post.batches[0], [failed(8, NOT_FOUND), *(done(number) for number in range(1, 8))])
    reconciler.run(request_id, 1, dispatch_no=1)
    found = database.transact(lambda session: find_request(session, DEFAULT_ACCOUNT, request_id))
    assert found is not None
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
