"""The sweeper: every few seconds it repeats what a lost message or a dead process left undone.

Several notifiers sweep at once: each takes rows with `SKIP LOCKED` and moves their timers ahead, so that a row is acted
on once. Only the database's clock counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event, Thread
from typing import Any, LiteralString
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, all_, literal
from sqlmodel import Session, col, func, select, tuple_, update

from services.notifier import metrics, wiped_broker
from services.notifier.close import close
from services.notifier.periodic import (
    BATCH_ROWS,
    FAILURES,
    LONGEST_BACK_OFF,
    BackOff,
    TimeBudget,
    for_each,
    repeat,
    run_tasks,
)
from services.notifier.reconcile import Reconciler
from services.notifier.still_queued import dispatch_waits
from shared.broker.epoch import EpochKey
from shared.db import execute
from shared.ids import uuid7
from shared.log import get_logger
from shared.messages import Deliver, DispatchRequest, Message
from shared.schemas.tables import Delivery, ImageGroup, ProcessingRequest

log = get_logger(__name__)
TASK_SECONDS = 2.0
TAKEN_SECONDS = 30
"""Requests and groups that a sweeper took are due again after this, in case it dies or its message is lost."""
DELIVER_LOST_SECONDS = 60
"""A `Deliver` that was sent so long ago and led to no attempt counts as lost."""
BATCH_SECONDS = 10
"""From when deliveries are marked as enqueued to when the last of them is sent, at most."""
Group = tuple[UUID, int]
Take = Callable[[Session, int, int], list[UUID]]
GiveBack = Callable[[Session, Sequence[Any]], None]


@dataclass(slots=True, kw_only=True)
class Sweeper:
    """What sweeping needs from its process. After one message that could not be sent, no more are tried in that run."""

    reconciler: Reconciler
    epoch_key: EpochKey
    seconds: float
    stop: Event
    _broker_works: bool = field(init=False, default=True)
    _not_closed: BackOff = field(init=False, default_factory=BackOff)

    def start(self) -> Thread:
        # The first run comes at once: after a cold start Redis has no epoch, and nothing is on its way yet.
        return repeat(self.run_once, name="sweeper", seconds=self.seconds, seconds_if_unfinished=0, stop=self.stop)

    def run_once(self) -> bool:
        """True if there is more to do at once."""
        tasks = (
            self.repair_wiped_broker,
            self.expire_requests,
            self.close_stopped_requests,
            self.dispatch_requests,
            self.reconcile_groups,
            self.enqueue_due_deliveries,
            self.measure,  # last, so that it shows what the others left undone
        )
        return run_tasks(tasks, seconds=TASK_SECONDS, stop=self.stop)

    def repair_wiped_broker(self, budget: TimeBudget) -> int:
        """If Redis has no epoch, or another than the database, it lost its messages: make everything open due again."""
        database = self.reconciler.database
        # Before Redis is asked: otherwise an epoch that another notifier began in between looks like a second wipe.
        current, new = database.transact(wiped_broker.epoch), uuid7()
        known = self.epoch_key.read()
        self._broker_works = known is not None
        if known is None:
            return 0
        if known.epoch != current and database.transact(
            lambda session: wiped_broker.begin_epoch(session, seen=current, new=new)
        ):
            self.epoch_key.write(new)  # before the repair: if Redis is wiped meanwhile, another repair begins
        return wiped_broker.repair(database, budget)

    def expire_requests(self, budget: TimeBudget) -> int:
        return for_each(self.reconciler.database, expire_requests, lambda _: None, budget)

    def close_stopped_requests(self, budget: TimeBudget) -> int:
        """In turn, some groups of each: a huge one does not hold up the others."""
        database, closed = self.reconciler.database, 0
        others = partial(stopped_requests, limit=BATCH_ROWS)
        while stopped := database.transact(lambda session: others(session, failed=self._not_closed.left_alone())):
            done = sum(self._close_some(request_id, budget) for request_id in stopped if not budget.is_spent())
            closed += done
            if not done or budget.is_spent():
                break
        return closed

    def _close_some(self, request_id: UUID, budget: TimeBudget) -> bool:
        """Whether some were closed; False if another transaction holds the request, or it fails."""
        reconciler = self.reconciler
        try:
            messages = reconciler.database.transact(
                lambda session: close(session, request_id, public_url=reconciler.public_url, wait=False)
            )
        except Exception:
            FAILURES.labels(budget.task).inc()
            log.exception("not_closed", request_id=str(request_id))
            self._not_closed.failed(request_id)
            return False
        for message in messages or ():
            if isinstance(message, Deliver):  # the next batch is ours
                self._send(message)
        return messages is not None

    def dispatch_requests(self, budget: TimeBudget) -> int:
        """Not while earlier dispatch messages still wait: without workers there is one message of each request."""
        if dispatch_waits(self.reconciler.backlog):
            return 0
        take, give_back = take_requests_to_dispatch, give_back_requests
        return self._send_each(take, give_back, lambda row: DispatchRequest(request_id=row), budget)

    def reconcile_groups(self, budget: TimeBudget) -> int:
        """Even if nothing can be sent: groups whose images are done are settled all the same."""
        reconciler = replace(self.reconciler, send=self._send)
        return for_each(
            reconciler.database,
            take_due_groups,
            lambda group: reconciler.run(*group, dispatch_no=None),
            budget,
            give_back=give_back_groups,
            back_off=back_off_group,
        )

    def enqueue_due_deliveries(self, budget: TimeBudget) -> int:
        waited = self.reconciler.backlog.waited(Deliver.queue)
        take, give_back = partial(take_due_deliveries, waited=waited), give_back_deliveries
        return self._send_each(take, give_back, lambda row: Deliver(delivery_id=row), budget)

    def measure(self, _: TimeBudget) -> int:
        metrics.measure_queues(self.reconciler.backlog)  # first: it needs no database
        self.reconciler.database.transact(metrics.measure)
        return 0

    def _send(self, message: Message) -> bool:
        """Each message that cannot be sent costs a second, and the next run is soon."""
        self._broker_works = self._broker_works and self.reconciler.send(message)
        return self._broker_works

    def _send_each(
        self, take: Take, give_back: GiveBack, message: Callable[[UUID], Message], budget: TimeBudget
    ) -> int:
        if not self._broker_works:
            return 0
        database = self.reconciler.database
        return for_each(database, take, lambda row: self._send(message(row)), budget, give_back=give_back)


def expire_requests(session: Session, limit: int, bad: int = 0) -> list[UUID]:
    """Stop requests whose deadline has come; `close_stopped_requests` does the rest."""
    return _ids(
        session,
        """
        WITH expired AS MATERIALIZED (
            SELECT id FROM processing_request
            WHERE deadline_at <= now() AND finished_at IS NULL AND stop_reason IS NULL
            ORDER BY deadline_at LIMIT %(limit)s OFFSET %(bad)s
            FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE processing_request r SET stop_reason = 'expired', dispatch_at = NULL
        FROM expired e WHERE r.id = e.id RETURNING r.id
        """,
        {"limit": limit, "bad": bad},
    )


def stopped_requests(session: Session, limit: int, *, failed: Sequence[UUID] = ()) -> list[UUID]:
    """Requests to close, by the index `request_stopped`; without those that `failed`, which are first every time."""
    r = ProcessingRequest
    stopped = select(r.id).where(col(r.finished_at).is_(None), col(r.stop_reason).is_not(None))
    stopped = stopped.where(col(r.id) != all_(literal(list(failed), ARRAY(Uuid))))
    return list(session.exec(stopped.order_by(col(r.id)).limit(limit)))


def take_requests_to_dispatch(session: Session, limit: int, bad: int = 0) -> list[UUID]:
    """Requests with waiting groups for which no `DispatchRequest` came in time."""
    return _ids(
        session,
        """
        WITH due AS MATERIALIZED (
            SELECT id FROM processing_request
            WHERE dispatch_at <= now() AND finished_at IS NULL AND stop_reason IS NULL
            ORDER BY dispatch_at LIMIT %(limit)s OFFSET %(bad)s
            FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE processing_request r SET dispatch_at = now() + make_interval(secs => %(taken)s)
        FROM due WHERE r.id = due.id RETURNING r.id
        """,
        {"limit": limit, "bad": bad, "taken": TAKEN_SECONDS},
    )


def take_due_groups(session: Session, limit: int, bad: int = 0) -> list[Group]:
    """Groups whose `reconcile_at` has come."""
    return _groups(
        session,
        """
        WITH due AS MATERIALIZED (
            SELECT request_id, number FROM image_group
            WHERE reconcile_at <= now() ORDER BY reconcile_at LIMIT %(limit)s OFFSET %(bad)s
            FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE image_group g SET reconcile_at = now() + make_interval(secs => %(taken)s)
        FROM due WHERE g.request_id = due.request_id AND g.number = due.number
        RETURNING g.request_id, g.number
        """,
        {"limit": limit, "bad": bad, "taken": TAKEN_SECONDS},
    )


def take_due_deliveries(session: Session, limit: int, bad: int = 0, *, waited: float = 0) -> list[UUID]:
    """Deliveries that are due and for which no `Deliver` is on its way.

    `waited`: for how many seconds the oldest message of their queue has; those that were sent later still wait.
    """
    return _ids(
        session,
        """
        WITH due AS MATERIALIZED (
            SELECT d.id FROM delivery d
            WHERE status = 'pending' AND next_attempt_at <= now()
              AND (enqueued_at IS NULL OR enqueued_at < now() - make_interval(secs => %(lost)s)
                   OR enqueued_at < (SELECT begun_at FROM broker_epoch))
            ORDER BY next_attempt_at LIMIT %(limit)s OFFSET %(bad)s
            FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE delivery d SET enqueued_at = now() FROM due WHERE d.id = due.id RETURNING d.id
        """,
        {"limit": limit, "bad": bad, "lost": max(DELIVER_LOST_SECONDS, waited + BATCH_SECONDS)},
    )


def back_off_group(session: Session, group: Group) -> None:
    """Reconciling it failed: later again, each time after twice as long."""
    execute(
        session,
        """
        UPDATE image_group SET reconcile_at = now() + make_interval(secs => reconcile_delay),
                               reconcile_delay = greatest(reconcile_delay, least(reconcile_delay * 2, %(longest)s))
        WHERE request_id = %(id)s AND number = %(number)s AND reconcile_at IS NOT NULL
        """,
        {"id": group[0], "number": group[1], "longest": LONGEST_BACK_OFF},
    )


def _giving_back(key: Any, timer: Any, due: Any) -> GiveBack:
    """Makes rows that were taken and not acted on due again, unless there is nothing left to do about them."""

    def give_back(session: Session, rows: Sequence[Any]) -> None:
        session.exec(update(timer.class_).where(key.in_(rows), timer.is_not(None)).values({timer: due}))

    return give_back


give_back_requests = _giving_back(col(ProcessingRequest.id), col(ProcessingRequest.dispatch_at), func.now())
give_back_groups = _giving_back(
    tuple_(col(ImageGroup.request_id), col(ImageGroup.number)), col(ImageGroup.reconcile_at), func.now()
)
give_back_deliveries = _giving_back(col(Delivery.id), col(Delivery.enqueued_at), None)


def _ids(session: Session, sql: LiteralString, params: dict[str, Any]) -> list[UUID]:
    return [row["id"] for row in execute(session, sql, params)]


def _groups(session: Session, sql: LiteralString, params: dict[str, Any]) -> list[Group]:
    return [(row["request_id"], row["number"]) for row in execute(session, sql, params)]
