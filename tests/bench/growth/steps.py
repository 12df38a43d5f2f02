"""Each step of each service once, on work that is the same however much is kept, and the buffers that it touches.

The work: one request that is followed to its end, and some that are open beside it.
"""

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from services.ingest import changes
from services.ingest.accounts import quotas
from services.ingest.idempotency import Idempotency, first_answer
from services.notifier import close, deliver, housekeeping, metrics, orphans, sweep, wiped_broker
from services.notifier.periodic import BATCH_ROWS
from services.notifier.reconcile import reconcile
from services.notifier.webhook import AttemptResult
from services.status import images, products, queries, report
from services.worker.claim import claim, defer, release, renew
from services.worker.dispatch import _again, _open_window
from services.worker.settle import failed, settle
from shared.db import Database, connection_of
from shared.ids import uuid7
from shared.lifecycle import ImageState, RequestStatus
from shared.schemas.accounts import DEFAULT_ACCOUNT, NO_LIMITS
from shared.schemas.tables import Erasure, ProcessingRequest
from tests.integration.batches import NOT_FOUND, done, fetch_of, take
from tests.integration.batches import report as settle_batch
from tests.integration.seed import add_request, deliveries_of, sql
from tests.integration.shared.touched import Touched

OPEN = 10
"""Requests beside the one that is followed."""
IMAGES = 1_000
"""Of each of them."""
GROUPS = 8
PAGE = 21
ALL = images.ImageFilter(None, None)
KEPT = timedelta(days=31)
"""A month's requests are there, and nothing of them is due."""


def buffers_of_steps(database: Database) -> dict[str, int]:
    """By the name of the step."""
    touched = Touched(database)
    for _ in range(OPEN):
        add_request(database, images=IMAGES)
    request_id = add_request(database, images=IMAGES, webhook_url="https://shop.example/hooks/halftone")
    work(touched, database, request_id)
    sweeps(touched, database)
    reads(touched, database, request_id)
    ends(touched, database, request_id)
    keeps_house(touched, database)
    return touched.buffers


def work(touched: Touched, database: Database, request_id: UUID) -> None:
    """Of the workers: one batch, and a group."""
    touched("dispatch a request", lambda session: _open_window(session, request_id))
    numbers = range(1, 17)
    batch = fetch_of(request_id, numbers)
    touched.run("claim", lambda connection: claim(connection, batch, numbers))
    touched.run("renew", lambda connection: renew(connection, batch, numbers))
    touched.run("defer", lambda connection: defer(connection, batch, numbers, seconds=300))
    touched.run("release", lambda connection: release(connection, batch, numbers))
    take(database, batch, numbers)
    results = [failed(1, NOT_FOUND), *(done(number) for number in numbers[1:])]
    touched.run("settle", lambda connection: settle(connection, batch, results))
    touched("dispatch a group", lambda session: _again(session, request_id, 2, 1))


def sweeps(touched: Touched, database: Database) -> None:
    """A round of the sweeper and what begins when Valkey was wiped; the due work is that of the open requests."""
    touched("sweeper: expire requests", partial(sweep.expire_requests, limit=BATCH_ROWS))
    touched("sweeper: requests to dispatch", partial(sweep.take_requests_to_dispatch, limit=BATCH_ROWS))
    sql(database, "UPDATE image_group SET reconcile_at = now() WHERE state = 'dispatched'")
    touched("sweeper: due groups", partial(sweep.take_due_groups, limit=BATCH_ROWS))
    touched("sweeper: due deliveries", partial(sweep.take_due_deliveries, limit=BATCH_ROWS))
    touched("sweeper: stopped requests", partial(sweep.stopped_requests, limit=BATCH_ROWS))
    touched("sweeper: measure", metrics.measure)
    seen = touched("sweeper: epoch", wiped_broker.epoch)
    touched("wiped broker: begin an epoch", lambda session: wiped_broker.begin_epoch(session, seen=seen, new=uuid7()))
    for batch in ("requests", "groups", "nothing left"):
        touched(f"wiped broker: {batch}", wiped_broker.repair_batch)


def reads(touched: Touched, database: Database, request_id: UUID) -> None:
    """Of status: the request that is worked on, and lists."""
    of_account: Any = partial(queries.list_requests, account=DEFAULT_ACCOUNT, limit=PAGE)
    in_the_middle = sql(database, "SELECT min(created_at) + (max(created_at) - min(created_at)) / 2 AS at"
                                  " FROM processing_request")[0]["at"]  # fmt: skip
    touched("get a request", lambda session: connection_of(session).execute(queries.FIND, {"ids": [request_id]}))
    touched("list requests", partial(of_account, status=None, before=None))
    touched("list requests, in the middle", partial(of_account, status=None, before=(in_the_middle, uuid7())))
    for status in RequestStatus:
        touched(f"list {status} requests", partial(of_account, status=status, before=None))
    touched("find an image", partial(images.find_image, account=DEFAULT_ACCOUNT, request_id=request_id, number=5))
    page: Any = {"request_id": request_id, "after": 0, "limit": PAGE}
    touched("list images", partial(images.list_images, only=ALL, **page))
    for state in ImageState:
        touched(f"list {state} images", partial(images.list_images, only=images.ImageFilter(state, None), **page))
    order: Any = {"order": images.ImageOrder.MOST_SAVED, "only": ALL, "after": None}
    touched(
        "list images by bytes saved",
        partial(images.list_images_by_saved, request_id=request_id, limit=PAGE, **order),
    )
    touched("list products", partial(products.list_products, **page))
    touched("list rejected rows", partial(queries.list_rejected, **page))
    touched("images of products", partial(images.images_by_number, request_id=request_id, numbers=range(1, 64, 3)))
    touched("report", partial(report.read, request_id=request_id))


def ends(touched: Touched, database: Database, request_id: UUID) -> None:
    """Quotas, the end of a request, its webhook, `retry`, `cancel` and `DELETE`."""
    touched("quotas", partial(quotas.check, account=DEFAULT_ACCOUNT, images=1, defaults=NO_LIMITS))
    key = Idempotency("a key", "0" * 64)
    touched(
        "idempotency key",
        partial(first_answer, account=DEFAULT_ACCOUNT, idempotency=key, retention=timedelta(days=1)),
    )
    numbers = range(1, IMAGES + 1)
    sql(database, "UPDATE image SET not_before = now() WHERE request_id = %(id)s", id=request_id)
    for group in range(GROUPS):
        some = numbers[group * 128 : group * 128 + 128]
        batch = fetch_of(request_id, some)
        take(database, batch, some)
        settle_batch(database, batch, [done(number) for number in some])
        if group == 0:
            touched("settle a group", partial(_reconcile, request_id=request_id, number=1))
        else:
            database.transact(partial(_reconcile, request_id=request_id, number=group + 1))
    [delivery] = deliveries_of(database, request_id)
    claimed = touched("claim a delivery", partial(deliver.claim_delivery, delivery_id=delivery["id"], seconds=60))
    assert claimed is not None
    result, sent = AttemptResult(status_code=200), {"webhook-timestamp": "1", "webhook-signature": "v1,x"}
    touched("record an attempt", lambda session: deliver.record(session, claimed, result, sent=sent, duration_ms=1))
    touched("list deliveries", partial(queries.list_deliveries, request_id=request_id, before=None, limit=PAGE))
    touched("redeliver", partial(changes.redeliver, account=DEFAULT_ACCOUNT, delivery_id=delivery["id"]))
    touched("retry", partial(changes.retry, account=DEFAULT_ACCOUNT, request_id=request_id, deadline=KEPT))
    touched("cancel", partial(changes.cancel, account=DEFAULT_ACCOUNT, request_id=request_id))
    touched("close", partial(close.close, request_id=request_id, public_url=""))
    database.transact(partial(close.close, request_id=request_id, public_url=""))
    touched("delete", partial(changes.erase_request, account=DEFAULT_ACCOUNT, request_id=request_id))


def keeps_house(touched: Touched, database: Database) -> None:
    """What housekeeping asks for, and the deletion of one old request and of a batch of a large one."""
    touched("housekeeping: deleted requests", lambda session: session.exec(select(Erasure.request_id)).all())
    sources = housekeeping.finished_for(KEPT).where(col(ProcessingRequest.sources_deleted_at).is_(None))
    asked = {"sources": sources, "expired requests": housekeeping.forgettable(KEPT)}
    for name, query in asked.items():
        oldest = query.order_by(col(ProcessingRequest.finished_at)).limit(50)
        touched(f"housekeeping: {name}", lambda session, oldest=oldest: session.exec(oldest).all())  # type: ignore[misc]
    ids = [row["id"] for row in sql(database, "SELECT id FROM processing_request ORDER BY created_at LIMIT 50")]
    touched("housekeeping: 50 folders of the store", partial(orphans._known, ids=ids))
    touched("housekeeping: forget a request", partial(housekeeping.forget_request, request_id=ids[0], kept=timedelta()))
    sql(
        database,
        "INSERT INTO erasure (request_id, next_number, last_number) VALUES (%(id)s, 1, %(last)s)",
        id=ids[1],
        last=IMAGES,
    )
    touched("housekeeping: erase a batch", partial(housekeeping.erase_batch, request_id=ids[1]))
    touched("housekeeping: erased", partial(housekeeping.erased, request_id=ids[1]))


def _reconcile(session: Session, *, request_id: UUID, number: int) -> object:
    return reconcile(session, request_id, number, dispatch_no=None, public_url="")
