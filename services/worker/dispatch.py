"""Dispatch (step 4): waiting groups of a request until its window is full, or one group again if there is room.

Mark first, commit, then send: a group whose send failed is looked at again in five seconds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from sqlmodel import Session

from shared.db import Database, execute
from shared.ids import uuid7
from shared.lifecycle import IMAGES_PER_BATCH, WINDOW, images_of
from shared.messages import CompressBatch, CompressIsolatedBatch, FetchBatch, FetchIsolatedBatch, GroupDone, ImageRef
from shared.recipe import Mode, Recipe, TargetFormat

Pipeline = tuple[FetchBatch, CompressBatch]
Row = dict[str, Any]


class SendGroup(Protocol):
    """Sends pipelines as one group that ends with `done`; False where the broker did not take them."""

    def __call__(self, pipelines: list[Pipeline], *, done: GroupDone) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A group that was marked as dispatched and is now to be sent."""

    done: GroupDone
    pipelines: list[Pipeline]


def dispatch_request(database: Database, send_group: SendGroup, request_id: UUID) -> int:
    """Dispatch waiting groups until the window is full; returns how many."""
    orders = _marked(database, lambda session: _open_window(session, request_id))
    return _send(database, send_group, orders)


def dispatch_group(database: Database, send_group: SendGroup, request_id: UUID, *, group: int, seen: int) -> int:
    """Dispatch the due images of a group again, unless someone did since dispatch number `seen`.

    Where the window is full, the group waits in line with the others.
    """
    orders = _marked(database, lambda session: _again(session, request_id, group, seen))
    return _send(database, send_group, orders)


def _marked(database: Database, mark: Callable[[Session], list[Order]]) -> list[Order]:
    """The orders of every try. Where only the reply to a COMMIT was lost, the next try finds nothing left to mark.

    An order that was rolled back is sent in vain: its images are claimed once, whoever is first.
    """
    orders: dict[GroupDone, Order] = {}

    def work(session: Session) -> None:
        orders.update((order.done, order) for order in mark(session))

    database.transact(work)
    return list(orders.values())


def _send(database: Database, send_group: SendGroup, orders: list[Order]) -> int:
    for order in orders:
        if not send_group(order.pipelines, done=order.done):
            database.transact(lambda session, done=order.done: _reconcile_soon(session, done))  # type: ignore[misc]
    return len(orders)


def _open_window(session: Session, request_id: UUID) -> list[Order]:
    request = _lock_running(session, request_id)
    if request is None:
        return []
    waiting = execute(
        session,
        """
        SELECT number, dispatch_no, images - completed - failed - cancelled AS open
        FROM image_group WHERE request_id = %(id)s AND state = 'waiting' ORDER BY number LIMIT %(most)s
        """,
        {"id": request_id, "most": WINDOW + 1},  # one more than can go out, to know whether any still waits
    )
    orders: list[Order] = []
    room = _room(session, request_id) if waiting else 0
    for group in waiting:
        if group["open"] > room:
            break
        if due := _due(session, request, group["number"]):
            orders += _mark(session, request, group["number"], group["dispatch_no"], due)
            room -= group["open"]
        else:  # it went out before, and what is left of it is in hand, or lost with its last attempt
            _reconcile_now(session, request_id, group["number"])
    _mark_request(session, request_id, waits=len(orders) < len(waiting))
    return orders


def _again(session: Session, request_id: UUID, group: int, seen: int) -> list[Order]:
    request = _lock_running(session, request_id)
    if request is None:
        return []
    due = _due(session, request, group)
    if len(due) > _room(session, request_id, without=group):
        _wait_in_line(session, request_id, group, seen)
        return []
    return _mark(session, request, group, seen, due)


def _room(session: Session, request_id: UUID, *, without: int = 0) -> int:
    """Images that may still go out. A group that goes out again counts as if it were not out."""
    rows = execute(
        session,
        """
        SELECT coalesce(sum(in_flight), 0)::int AS in_flight FROM image_group
        WHERE request_id = %(id)s AND state = 'dispatched' AND number <> %(without)s
        """,
        {"id": request_id, "without": without},
    )
    return WINDOW - int(rows[0]["in_flight"])


def _wait_in_line(session: Session, request_id: UUID, group: int, seen: int) -> None:
    """The sweeper asks in a minute, for a lost message's sake; until then whatever makes room does."""
    execute(
        session,
        """
        WITH waits AS (
            UPDATE image_group SET state = 'waiting', reconcile_at = NULL
            WHERE request_id = %(id)s AND number = %(group)s AND dispatch_no = %(seen)s AND state = 'dispatched'
            RETURNING 1
        )
        UPDATE processing_request SET dispatch_at = coalesce(dispatch_at, now() + interval '60 s')
        WHERE id = %(id)s AND EXISTS (SELECT 1 FROM waits)
        """,
        {"id": request_id, "group": group, "seen": seen},
    )


def _lock_running(session: Session, request_id: UUID) -> Row | None:
    rows = execute(
        session,
        """
        SELECT id, run, quality, mode, format, max_side FROM processing_request
        WHERE id = %(id)s AND stop_reason IS NULL AND finished_at IS NULL
        FOR NO KEY UPDATE
        """,
        {"id": request_id},
    )
    return rows[0] if rows else None


def _mark(session: Session, request: Row, group: int, seen: int, due: list[Row]) -> list[Order]:
    if not due or not _count_dispatch(session, request["id"], group, seen, images=len(due)):
        return []
    done = GroupDone(request_id=request["id"], group=group, dispatch_no=seen + 1)
    return [Order(done=done, pipelines=list(_pipelines(request, done, due)))]


def _due(session: Session, request: Row, group: int) -> list[Row]:
    first, last = images_of(group)
    return execute(
        session,
        """
        SELECT number, url, isolated OR claimed_by IS NOT NULL AND NOT deferred AS isolated FROM image
        WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND run = %(run)s
          AND state = 'pending' AND attempts < 5 AND not_before <= now()
        ORDER BY number
        """,
        request | {"first": first, "last": last},
    )


def _count_dispatch(session: Session, request_id: UUID, group: int, seen: int, *, images: int) -> bool:
    """In flight from here on: what is sent now, and what is under a claim from the dispatch before."""
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
            reconcile_delay = least(reconcile_delay * 2, 600)
        WHERE request_id = %(id)s AND number = %(group)s AND dispatch_no = %(seen)s AND state <> 'settled'
        RETURNING dispatch_no
        """,
        {"id": request_id, "group": group, "seen": seen, "images": images, "first": first, "last": last},
    )
    return bool(rows)


def _mark_request(session: Session, request_id: UUID, *, waits: bool) -> None:
    """Now processing. The sweeper asks again in a minute where groups still wait, for a lost message's sake."""
    execute(
        session,
        """
        UPDATE processing_request
        SET status = 'processing', started_at = coalesce(started_at, now()),
            dispatch_at = CASE WHEN %(waits)s THEN now() + interval '60 s' END
        WHERE id = %(id)s
        """,
        {"id": request_id, "waits": waits},
    )


def _reconcile_now(session: Session, request_id: UUID, group: int) -> None:
    execute(
        session,
        """
        UPDATE image_group SET reconcile_at = coalesce(reconcile_at, now())
        WHERE request_id = %(id)s AND number = %(group)s AND state = 'waiting'
        """,
        {"id": request_id, "group": group},
    )


def _reconcile_soon(session: Session, done: GroupDone) -> None:
    execute(
        session,
        """
        UPDATE image_group SET reconcile_at = least(reconcile_at, now() + interval '5 s')
        WHERE request_id = %(request_id)s AND number = %(group)s AND dispatch_no = %(dispatch_no)s
          AND state = 'dispatched'
        """,
        done.model_dump(),
    )


def _pipelines(request: Row, done: GroupDone, images: list[Row]) -> Iterator[Pipeline]:
    """At most 8 images each; one that may have killed its worker travels isolated."""
    together = [ImageRef(number=image["number"], url=image["url"]) for image in images if not image["isolated"]]
    for start in range(0, len(together), IMAGES_PER_BATCH):
        yield _pipeline(request, done, tuple(together[start : start + IMAGES_PER_BATCH]), isolated=False)
    for image in images:
        if image["isolated"]:
            yield _pipeline(request, done, (ImageRef(number=image["number"], url=image["url"]),), isolated=True)


def _pipeline(request: Row, done: GroupDone, images: tuple[ImageRef, ...], *, isolated: bool) -> Pipeline:
    recipe = Recipe(
        quality=request["quality"],
        mode=Mode(request["mode"]),
        format=TargetFormat(request["format"]),
        max_side=request["max_side"],
    )
    common: dict[str, Any] = done.model_dump() | {"run": request["run"], "recipe": recipe}
    claim, next_claim = uuid7(), uuid7()
    if isolated:
        first: FetchBatch = FetchIsolatedBatch(claim=claim, images=images, **common)
        return first, CompressIsolatedBatch(claim=next_claim, takes_over=claim, **common)
    first = FetchBatch(claim=claim, images=images, **common)
    return first, CompressBatch(claim=next_claim, takes_over=claim, **common)
