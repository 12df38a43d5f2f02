"""The sweeper: every few seconds it repeats what a lost message or a dead process left undone.

Several notifiers sweep at once: each takes rows with `SKIP LOCKED` and moves their timers ahead, so that a row is acted
on once. Only the database's clock counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Event, Thread
from typing import Any, LiteralString
from uuid import UUID

from sqlmodel import Session, col, func, tuple_, update

from services.notifier import metrics, wiped_broker
from services.notifier.periodic import TimeBudget, for_each, repeat, run_tasks
from services.notifier.reconcile import Reconciler
from shared.broker.epoch import EpochKey
from shared.db import execute
from shared.ids import uuid7
from shared.messages import Deliver, DispatchRequest, Message
from shared.schemas.tables import Delivery, ImageGroup, ProcessingRequest

TASK_SECONDS = 2.0
TAKEN_SECONDS = 30
"""Requests and groups that a sweeper took are due again after this, in case it dies or its message is lost."""
DELIVER_LOST_SECONDS = 60
"""A `Deliver` that was sent so long ago and led to no attempt counts as lost."""
Group = tuple[UUID, int]
Take = Callable[[Session, int], list[UUID]]
GiveBack = Callable[[Session, Sequence[Any]], None]


@dataclass(slots=True, kw_only=True)
class Sweeper:
    """What sweeping needs from its process. After one message that could not be sent, no more are tried in that run."""

    reconciler: Reconciler
    epoch_key: EpochKey
    seconds: float
    stop: Event
    _broker_works: bool = field(init=False, default=True)

    def start(self) -> Thread:
        # The first run comes at once: after a cold start Redis has no epoch, and nothing is on its way yet.
        return repeat(self.run_once, name="sweeper", seconds=self.seconds, seconds_if_unfinished=0, stop=self.stop)

    def run_once(self) -> bool:
        """True if there is more to do at once."""
        tasks = (
            self.repair_wiped_broker,
            self.expire_requests,
            self.close_expired_groups,
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
        repaired = 0
        while batch := database.transact(wiped_broker.repair_batch):
            repaired += batch
            if budget.is_spent():
                break
        return repaired

    def expire_requests(self, budget: TimeBudget) -> int:
        return for_each(self.reconciler.database, expire_requests, lambda _: None, budget)

    def close_expired_groups(self, budget: TimeBudget) -> int:
        return for_each(self.reconciler.database, close_expired_groups, lambda _: None, budget)

    def dispatch_requests(self, budget: TimeBudget) -> int:
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
        )

    def enqueue_due_deliveries(self, budget: TimeBudget) -> int:
        take, give_back = take_due_deliveries, give_back_deliveries
        return self._send_each(take, give_back, lambda row: Deliver(delivery_id=row), budget)

    def measure(self, _: TimeBudget) -> int:
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


def expire_requests(session: Session, limit: int) -> list[UUID]:
    """Stop requests whose deadline has come. Their groups follow in batches: there may be thousands."""
    return _ids(
        session,
        """
        WITH expired AS MATERIALIZED (
            SELECT id FROM processing_request
            WHERE deadline_at <= now() AND finished_at IS NULL AND stop_reason IS NULL
            ORDER BY deadline_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE processing_request r SET stop_reason = 'expired', dispatch_at = NULL
        FROM expired e WHERE r.id = e.id RETURNING r.id
        """,
        {"limit": limit},
    )


def close_expired_groups(session: Session, limit: int) -> list[Group]:
    """Make groups of expired requests due; reconciling each then fails what is left of it.

    Groups that are due, or that a sweeper has taken, are left out: so a run that was killed goes on where it was.
    """
    return _groups(
        session,
        """
        WITH open AS MATERIALIZED (
            SELECT g.request_id, g.number
            FROM processing_request r JOIN image_group g ON g.request_id = r.id
            WHERE r.deadline_at <= now() AND r.finished_at IS NULL AND r.stop_reason IS NOT NULL
              AND g.state <> 'settled'
              AND (g.reconcile_at IS NULL OR g.reconcile_at > now() + make_interval(secs => %(taken)s))
            LIMIT %(limit)s FOR NO KEY UPDATE OF g SKIP LOCKED
        )
        UPDATE image_group g SET reconcile_at = now()
        FROM open o WHERE g.request_id = o.request_id AND g.number = o.number
        RETURNING g.request_id, g.number
        """,
        {"limit": limit, "taken": TAKEN_SECONDS},
    )


def take_requests_to_dispatch(session: Session, limit: int) -> list[UUID]:
    """Requests with waiting groups for which no `DispatchRequest` came in time."""
    return _ids(
        session,
        """
        WITH due AS MATERIALIZED (
            SELECT id FROM processing_request
            WHERE dispatch_at <= now() AND finished_at IS NULL AND stop_reason IS NULL
            ORDER BY dispatch_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE processing_request r SET dispatch_at = now() + make_interval(secs => %(taken)s)
        FROM due WHERE r.id = due.id RETURNING r.id
        """,
        {"limit": limit, "taken": TAKEN_SECONDS},
    )


def take_due_groups(session: Session, limit: int) -> list[Group]:
    """Groups whose `reconcile_at` has come."""
    return _groups(
        session,
        """
        WITH due AS MATERIALIZED (
            SELECT request_id, number FROM image_group
            WHERE reconcile_at <= now() ORDER BY reconcile_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE image_group g SET reconcile_at = now() + make_interval(secs => %(taken)s)
        FROM due WHERE g.request_id = due.request_id AND g.number = due.number
        RETURNING g.request_id, g.number
        """,
        {"limit": limit, "taken": TAKEN_SECONDS},
    )


def take_due_deliveries(session: Session, limit: int) -> list[UUID]:
    """Deliveries that are due and for which no `Deliver` is on its way."""
    return _ids(
        session,
        """
        WITH due AS MATERIALIZED (
            SELECT d.id FROM delivery d
            WHERE status = 'pending' AND next_attempt_at <= now()
              AND (enqueued_at IS NULL OR enqueued_at < now() - make_interval(secs => %(lost)s)
                   OR enqueued_at < (SELECT begun_at FROM broker_epoch))
            ORDER BY next_attempt_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE delivery d SET enqueued_at = now() FROM due WHERE d.id = due.id RETURNING d.id
        """,
        {"limit": limit, "lost": DELIVER_LOST_SECONDS},
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
