"""Dispatch (step 4): waiting groups of a request until its window is full, or one group again if there is room.

Mark first, commit, then send: a group that the broker did not take is reconciled again in five seconds. The window may
be thousands of images, so it is filled in several transactions: the first groups are fetched while others are marked.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Update, func
from sqlmodel import Session, col, update

from shared import lifecycle
from shared.db import Database, execute
from shared.ids import uuid7
from shared.lifecycle import DUE, IMAGES_PER_BATCH, QUICK_IMAGES, WINDOW, GroupState, RequestStatus, images_of
from shared.log import get_logger
from shared.messages import CompressBatch, CompressIsolatedBatch, FetchBatch, FetchIsolatedBatch, GroupDone, QuickBatch
from shared.schemas.tables import ImageGroup, ProcessingRequest

RESEND_SECONDS = 60
"""The sweeper sends `DispatchRequest` again after this time, in case the message that fills the window is lost."""
UNSENT_SECONDS = 5
LONGEST_RECONCILE_DELAY = 600
GROUPS_AT_ONCE = 8  # that one transaction marks
PAGES = 64  # of waiting groups that one transaction looks at, in case none of them is due
Pipeline = tuple[FetchBatch, CompressBatch | None]  # a quick batch has no second half: its message does both
Orders = dict[GroupDone, list[Pipeline]]
"""Groups that were marked as dispatched and are now to be sent, by the callback that ends them."""
Row = dict[str, Any]
log = get_logger(__name__)


class SendGroup(Protocol):
    """Sends pipelines as one group that ends with `done`; False where the broker did not take them."""

    def __call__(self, pipelines: list[Pipeline], *, done: GroupDone) -> bool: ...


def dispatch_request(database: Database, send_group: SendGroup, request_id: UUID, *, window: int = WINDOW) -> int:
    """Dispatch waiting groups until `window` images are on their way; returns how many groups."""
    dispatched, after, full = 0, 0, False
    while not full:
        mark = partial(_open_window, request_id=request_id, window=window, after=after)
        orders = _marked(database, mark)
        dispatched += _send(database, send_group, orders)
        after = max((done.group for done in orders), default=0)
        full = len(orders) < GROUPS_AT_ONCE
    return dispatched


def dispatch_group(
    database: Database, send_group: SendGroup, request_id: UUID, *, group: int, seen: int, window: int = WINDOW
) -> int:
    """Dispatch the due images of a group again, unless it was dispatched since dispatch number `seen`.

    Where the window is full, the group waits with the others.
    """
    orders = _marked(database, lambda session: _again(session, request_id, group, seen, window=window))
    return _send(database, send_group, orders)


def _marked(database: Database, mark: Callable[[Session], Orders]) -> Orders:
    """The orders of every try. Where only the reply to a COMMIT was lost, the next try finds nothing left to mark.

    An order that was rolled back is sent in vain, and harms nothing: images are claimed once.
    """
    orders: Orders = {}
    database.transact(lambda session: orders.update(mark(session)))
    return orders


def _send(database: Database, send_group: SendGroup, orders: Orders) -> int:
    for done, pipelines in orders.items():
        if not (sent := send_group(pipelines, done=done)):
            database.transact(partial(_reconcile_unsent, done=done))
        log.info("dispatched", request_id=str(done.request_id), group=done.group, batches=len(pipelines), sent=sent)
    return len(orders)


def _open_window(session: Session, request_id: UUID, *, window: int = WINDOW, after: int = 0) -> Orders:
    """Mark at most `GROUPS_AT_ONCE` of the groups that come after number `after`.

    Whether one before it waits is not asked, so that the request keeps its timer.
    """
    request = _lock_running(session, request_id)
    if request is None:
        return {}
    orders: Orders = {}
    room, waits = None, after > 0
    for group in _waiting(session, request_id, after):
        room = _room(session, request_id, window) if room is None else room
        if group["open"] > room or len(orders) == GROUPS_AT_ONCE:
            waits = True
            break
        if request["run"] > 1 and group["dispatch_no"] <= 0:
            _reopen(session, request, group["number"])
        if due := _due(session, request, group["number"]):
            orders |= _mark(session, request, group["number"], abs(group["dispatch_no"]), due)
            room -= group["open"]
        else:  # it went out before, and the rest of it is under a claim, or lost with its last attempt
            _reconcile_now(session, request_id, group["number"])
            waits = True
    _mark_request(session, request_id, waits=waits)
    return orders


def _waiting(session: Session, request_id: UUID, after: int) -> Iterator[Row]:
    """Groups that wait, by number: a page at a time, since there may be thousands and room for one."""
    for _ in range(PAGES):
        page = execute(
            session,
            """
            SELECT number, dispatch_no, images - completed - failed - cancelled AS open FROM image_group
            WHERE request_id = %(id)s AND state = 'waiting' AND number > %(after)s ORDER BY number LIMIT %(most)s
            """,
            {"id": request_id, "after": after, "most": GROUPS_AT_ONCE + 1},
        )
        yield from page
        if len(page) <= GROUPS_AT_ONCE:
            return
        after = page[-1]["number"]


def _reopen(session: Session, request: Row, group: int) -> None:
    """Before the group's first dispatch in a run that `retry` began: its images are pending, and its counts its own."""
    first, last = images_of(group)
    execute(
        session,
        f"""
        WITH images AS (
            UPDATE image SET state = 'pending', run = %(run)s, attempts = 0, not_before = now(), claimed_by = NULL,
                isolated = false, error_code = NULL, error_detail = NULL, fetch_ms = NULL, settled_at = NULL
            WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND {lifecycle.OF_EARLIER_RUN}
        ), counts AS (
            UPDATE image_group SET dispatch_no = -dispatch_no
            WHERE request_id = %(id)s AND number = %(group)s AND dispatch_no < 0
            RETURNING completed, source_bytes, rendition_bytes
        )
        UPDATE processing_request r
        SET completed = r.completed - c.completed, source_bytes = r.source_bytes - c.source_bytes,
            rendition_bytes = r.rendition_bytes - c.rendition_bytes
        FROM counts c WHERE r.id = %(id)s
        """,  # noqa: S608 - a constant of ours
        request | {"group": group, "first": first, "last": last},
    )


def _again(session: Session, request_id: UUID, group: int, seen: int, *, window: int = WINDOW) -> Orders:
    request = _lock_running(session, request_id)
    if request is None:
        return {}
    due = _due(session, request, group)
    if len(due) > _room(session, request_id, window, without=group):
        _wait(session, request_id, group, seen)
        return {}
    return _mark(session, request, group, seen, due)


def _room(session: Session, request_id: UUID, window: int, *, without: int = 0) -> int:
    """Images that may still go out. A group that goes out again counts as if it were not out."""
    rows = execute(
        session,
        """
        SELECT coalesce(sum(in_flight), 0)::int AS in_flight FROM image_group
        WHERE request_id = %(id)s AND state = 'dispatched' AND number <> %(without)s
        """,
        {"id": request_id, "without": without},
    )
    return window - int(rows[0]["in_flight"])


def _wait(session: Session, request_id: UUID, group: int, seen: int) -> None:
    """Put the group back among the waiting ones; they go out when there is room."""
    execute(
        session,
        """
        WITH waits AS (
            UPDATE image_group SET state = 'waiting', reconcile_at = NULL
            WHERE request_id = %(id)s AND number = %(group)s AND dispatch_no = %(seen)s AND state = 'dispatched'
            RETURNING 1
        )
        UPDATE processing_request SET dispatch_at = coalesce(dispatch_at, now() + make_interval(secs => %(seconds)s))
        WHERE id = %(id)s AND EXISTS (SELECT 1 FROM waits)
        """,
        {"id": request_id, "group": group, "seen": seen, "seconds": RESEND_SECONDS},
    )


def _lock_running(session: Session, request_id: UUID) -> Row | None:
    """By its id alone: `finished_at IS NULL` would offer the planner the index of all open requests."""
    rows = execute(
        session,
        """
        SELECT id, account_id, run, quality, mode, format, max_side,
               stop_reason IS NULL AND finished_at IS NULL AS running
        FROM processing_request WHERE id = %(id)s FOR NO KEY UPDATE
        """,
        {"id": request_id},
    )
    return rows[0] if rows and rows[0]["running"] else None


def _mark(session: Session, request: Row, group: int, seen: int, due: list[Row]) -> Orders:
    if not due or not _count_dispatch(session, request["id"], group, seen, images=len(due)):
        return {}
    done = GroupDone(request_id=request["id"], group=group, dispatch_no=seen + 1)
    return {done: list(_pipelines(request, done, due))}


def _due(session: Session, request: Row, group: int) -> list[Row]:
    first, last = images_of(group)
    return execute(
        session,
        f"""
        SELECT number, url, isolated OR claimed_by IS NOT NULL AND NOT deferred AS isolated FROM image
        WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND run = %(run)s AND {DUE}
        ORDER BY number
        """,  # noqa: S608 - a constant of ours
        request | {"first": first, "last": last},
    )


def _count_dispatch(session: Session, request_id: UUID, group: int, seen: int, *, images: int) -> bool:
    """Mark the group. In flight are then the images sent now, and those under a claim from the dispatch before."""
    first, last = images_of(group)
    rows = execute(
        session,
        """
        UPDATE image_group
        SET state = 'dispatched', dispatch_no = dispatch_no + 1,
            in_flight = %(images)s + (SELECT count(*) FROM image
                                      WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s
                                        AND state = 'pending' AND claimed_by IS NOT NULL AND not_before > now()),
            reconcile_at = now() + make_interval(secs => reconcile_delay),
            reconcile_delay = least(reconcile_delay * 2, %(longest)s)
        WHERE request_id = %(id)s AND number = %(group)s AND dispatch_no = %(seen)s AND state <> 'settled'
        RETURNING dispatch_no
        """,
        {
            "id": request_id, "group": group, "seen": seen, "images": images, "first": first, "last": last,
            "longest": LONGEST_RECONCILE_DELAY,
        },
    )  # fmt: skip
    return bool(rows)


def _mark_request(session: Session, request_id: UUID, *, waits: bool) -> None:
    """Now processing. `waits`: groups are waiting for room."""
    session.exec(
        update(ProcessingRequest)
        .where(col(ProcessingRequest.id) == request_id)
        .values(
            status=RequestStatus.PROCESSING,
            started_at=func.coalesce(ProcessingRequest.started_at, func.now()),
            dispatch_at=func.now() + timedelta(seconds=RESEND_SECONDS) if waits else None,
        )
    )


def _reconcile_now(session: Session, request_id: UUID, group: int) -> None:
    session.exec(
        _group(request_id, group)
        .where(col(ImageGroup.state) == GroupState.WAITING)
        .values(reconcile_at=func.coalesce(ImageGroup.reconcile_at, func.now()))
    )


def _reconcile_unsent(session: Session, done: GroupDone) -> None:
    soon = func.now() + timedelta(seconds=UNSENT_SECONDS)
    session.exec(
        _group(done.request_id, done.group)
        .where(col(ImageGroup.dispatch_no) == done.dispatch_no, col(ImageGroup.state) == GroupState.DISPATCHED)
        .values(reconcile_at=func.least(ImageGroup.reconcile_at, soon))
    )


def _group(request_id: UUID, group: int) -> Update:
    return update(ImageGroup).where(col(ImageGroup.request_id) == request_id, col(ImageGroup.number) == group)


def _pipelines(request: Row, done: GroupDone, images: list[Row]) -> Iterator[Pipeline]:
    """At most 16 images each; what may have killed its worker travels isolated, a request's first images quickly."""
    recipe = {name: request[name] for name in ("quality", "mode", "format", "max_side")}
    common = done.model_dump() | {"account_id": request["account_id"], "run": request["run"], "recipe": recipe}
    together = [image for image in images if not image["isolated"]]
    for start in range(0, len(together), IMAGES_PER_BATCH):
        batch = {"claim": uuid7(), "images": together[start : start + IMAGES_PER_BATCH]}
        if together[start]["number"] <= QUICK_IMAGES:
            yield QuickBatch.model_validate(common | batch), None
        else:
            fetch = FetchBatch.model_validate(common | batch)
            yield fetch, CompressBatch.after(fetch)
    for image in images:
        if image["isolated"]:
            alone = FetchIsolatedBatch.model_validate(common | {"claim": uuid7(), "images": [image]})
            yield alone, CompressIsolatedBatch.after(alone)
